"""The sender's entry point for pull: messages come over a stream, as many at a time as there are workers for.

The stream is opened by the API's own calls instead of `SubscriberClient.subscribe`: docs/decisions/0012-…
https://cloud.google.com/pubsub/docs/pull#streamingpull_api
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from google.api_core import exceptions as google_errors
from google.cloud.pubsub_v1 import SubscriberClient
from google.pubsub_v1.types import StreamingPullRequest, StreamingPullResponse

from sender.entrypoints.ack_deadlines import AckDeadlines
from sender.entrypoints.health import health_endpoint
from sender.worker.attempt import HandlerResult
from sender.worker.handler import Handler
from shared.errors import PullFailed, Unavailable
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.pull")

#: What ends a stream now and then, or for as long as Pub/Sub has a bad time; anything else will not go away by itself.
_PASSING = (
    google_errors.Aborted,
    google_errors.DeadlineExceeded,
    google_errors.InternalServerError,
    google_errors.ResourceExhausted,
    google_errors.ServiceUnavailable,
    google_errors.Unknown,
)

#: Seconds until a message comes again that could not be worked on: another sender holds the document, or Firestore does
#: not answer. Without it, a subscription that has no retry policy would deliver it again at once, and again.
PAUSE_SECONDS = 5

#: Pub/Sub takes a stream on which the client has said nothing for a minute for dead.
_HEARTBEAT_SECONDS = 30.0
_LONGEST_BACKOFF_SECONDS = 30.0
#: A stream that has lasted so long was not a failure, even if nothing came: there was no mail.
_GOOD_SECONDS = 10.0
#: Of the time for an orderly end: how long Pub/Sub may take to end the stream, and what is left for the last answers.
_FAREWELL_SECONDS = 1.0
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Flow:
    """How much Pub/Sub may hand to this process before it has answers: messages, and bytes of them.

    `lease_seconds` is how long it keeps a message for us without a renewal (10 to 600).
    """

    messages: int
    bytes: int
    lease_seconds: int


class Puller:
    """Has `sender` work on what a subscription (its full name) delivers, in so many threads."""

    def __init__(self, client: SubscriberClient, subscription: str, flow: Flow, sender: Handler, threads: int) -> None:
        self._client = client
        self._subscription = subscription
        self._flow = flow
        self._sender = sender
        self._ack_deadlines = AckDeadlines(client, subscription, flow.lease_seconds)
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._call: Any = None
        self._name = str(uuid.uuid4())
        self._listener = threading.Thread(target=self._listen, name="pull", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(threads)
        ]

    @property
    def is_well(self) -> bool:
        """Whether a stream is open, or will be as soon as Pub/Sub can be reached, and answers are sent."""
        return self._listener.is_alive() and self._ack_deadlines.is_alive and not self._over.is_set()

    def run(self, grace_seconds: float) -> None:
        """Work until `stop`, then end within `grace_seconds`: see `_end`.

        Raises `PullFailed` when the subscription can't be pulled from.
        """
        self._ack_deadlines.start()
        for thread in (self._listener, *self._workers):
            thread.start()
        self._over.wait()
        self._end(time.monotonic() + grace_seconds)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Let `run` end; from any thread, and more than once if need be."""
        self._over.set()

    def _end(self, deadline: float) -> None:
        """Take nothing more; give back what is not begun; let what is begun finish or be released; say so."""
        self._close_stream()
        self._give_back_waiting()
        for _ in self._workers:
            self._waiting.put(None)
        self._sender.drain()
        for worker in self._workers:
            worker.join(max(0.0, deadline - _ANSWER_SECONDS - time.monotonic()))
        if late := sum(worker.is_alive() for worker in self._workers):
            _log.error("%d attempts have not ended in time; their leases will run out", late)
        self._ack_deadlines.close(max(0.0, deadline - time.monotonic()))

    def _close_stream(self) -> None:
        """Say that no more is wanted, and hear Pub/Sub out: what it has sent already would else be nobody's.

        The requests have ended with `_over`. A stream that is cancelled keeps its messages until their leases end.
        """
        self._listener.join(_FAREWELL_SECONDS)
        if self._listener.is_alive() and self._call is not None:
            _log.warning("Pub/Sub did not end the stream in time; what it has sent meanwhile will come again later")
            self._call.cancel()
            self._listener.join(_FAREWELL_SECONDS)

    def _give_back_waiting(self) -> None:
        try:
            while True:
                self._ack_deadlines.give_back(self._waiting.get_nowait().ack_id, 0)
        except Empty:
            return

    def _listen(self) -> None:
        """Retain a stream open, however often it breaks off: Pub/Sub closes each of them sooner or later."""
        failures = 0
        try:
            while not self._over.is_set():
                failures = 0 if self._receive() else failures + 1
                self._over.wait(_backoff(failures, random.random()))  # noqa: S311  # spreads load, guards nothing
        except google_errors.GoogleAPICallError as error:
            self._failure = PullFailed(f"{self._subscription} can't be pulled from: {error.message}")
        except Exception as error:
            self._failure = error
        self._over.set()

    def _receive(self) -> bool:
        """Receive until the stream ends. Whether it was a good one; raises what will not go away by itself."""
        was_good, begin = False, time.monotonic()
        try:
            self._call = self._client.streaming_pull(requests=self._requests(), retry=None, timeout=None)
            for response in self._call:
                was_good = True
                self._take(StreamingPullResponse.pb(response).received_messages)
        except _PASSING as error:
            was_good = was_good or time.monotonic() - begin >= _GOOD_SECONDS
            _log.log(logging.DEBUG if was_good else logging.WARNING, "the stream broke off: %s", type(error).__name__)
        except google_errors.Cancelled:
            if not self._over.is_set():
                raise
        return was_good

    def _requests(self) -> Iterator[StreamingPullRequest]:
        yield StreamingPullRequest(
            subscription=self._subscription,
            stream_ack_deadline_seconds=self._flow.lease_seconds,
            max_outstanding_messages=self._flow.messages,
            max_outstanding_bytes=self._flow.bytes,
            client_id=self._name,
        )
        while not self._over.wait(_HEARTBEAT_SECONDS):
            yield StreamingPullRequest()

    def _take(self, messages: Any) -> None:
        self._ack_deadlines.hold([message.ack_id for message in messages])
        for message in messages:
            self._waiting.put(message)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            if work_off(self._sender.handle, message):
                self._ack_deadlines.acknowledge(message.ack_id)
            else:
                self._ack_deadlines.give_back(message.ack_id, 0 if self._over.is_set() else PAUSE_SECONDS)


def serve(puller: Puller, *, port: int, grace_seconds: float) -> None:
    """Pull until SIGTERM or SIGINT, and answer health checks on `port`. Raises `PullFailed`, `Misconfigured`."""

    def at_signal(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=puller.stop, name="stop").start()  # a signal handler must not wait for locks

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, at_signal)
    with health_endpoint(port, lambda: puller.is_well):
        puller.run(grace_seconds)


def work_off(handle: Callable[[ReceivedMessage], HandlerResult], message: Any) -> bool:
    """Whether Pub/Sub may forget the message (a raw `ReceivedMessage`); `handle` is `Handler.handle`."""
    content = message.message
    received = ReceivedMessage(
        content.data, dict(content.attributes), content.message_id, content.publish_time.ToDatetime(UTC)
    )
    fields = {"message_id": content.message_id, "delivery_attempt": message.delivery_attempt}
    try:
        return handle(received).acknowledge
    except Unavailable as error:
        _log.error("unavailable: %s", error, extra={"fields": fields})
    except Exception:
        _log.exception("unforeseen error", extra={"fields": fields})
    return False


def _backoff(failures: int, jitter: float) -> float:
    """Seconds until the next stream, after so many bad ones; `jitter` is random, from 0 to 1."""
    return min(_LONGEST_BACKOFF_SECONDS, 0.1 * 2.0 ** min(failures, 30)) * jitter

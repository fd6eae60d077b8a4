"""The sender's entry point for pull: messages arrive over a stream and are handled by worker threads.

It calls `streaming_pull` directly instead of `SubscriberClient.subscribe`: docs/decisions/0012-…
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
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.types import StreamingPullRequest, StreamingPullResponse

from sender.entrypoints.ack_deadlines import AckDeadlines
from sender.entrypoints.health import health_endpoint
from sender.worker.attempt import HandlerResult
from sender.worker.handler import Handler
from shared.errors import PullFailed, Unavailable
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.pull")

#: Errors that end a stream in normal operation or during an outage. Others are permanent.
_TRANSIENT = (
    google_errors.Aborted,
    google_errors.DeadlineExceeded,
    google_errors.InternalServerError,
    google_errors.ResourceExhausted,
    google_errors.ServiceUnavailable,
    google_errors.Unknown,
)

#: Seconds before a message that could not be handled is redelivered: another sender holds the lease, or Firestore does
#: not answer. Without this pause, a subscription without a retry policy would redeliver it in a tight loop.
PAUSE_SECONDS = 5

#: Pub/Sub closes a stream on which the client has sent nothing for a minute.
_HEARTBEAT_SECONDS = 30.0
_LONGEST_BACKOFF_SECONDS = 30.0
#: A signal that the kernel gives to another thread does not wake the main one, which runs Python's handler.
#: https://docs.python.org/3/library/signal.html#signals-and-threads
_SIGNAL_SECONDS = 0.2
#: A stream that lasted this long does not count as a failure, even if it delivered nothing: there was no mail.
_GOOD_SECONDS = 10.0
#: Parts of the shutdown time: for Pub/Sub to end the stream, and for sending the last answers.
_STREAM_END_SECONDS = 1.0
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Flow control: how many messages, and bytes of them, Pub/Sub may deliver to this process before they are answered.

    `ack_deadline_seconds` is the stream's ack deadline (10 to 600).
    """

    messages: int
    bytes: int
    ack_deadline_seconds: int


class Puller:
    """Pulls messages and has a handler process them on worker threads."""

    def __init__(self, client: SubscriberClient, subscription: str, flow: Flow, sender: Handler, threads: int) -> None:
        """`subscription` is the full name; `threads` is the number of workers."""
        self._client = client
        self._subscription = subscription
        self._flow = flow
        self._sender = sender
        self._ack_deadlines = AckDeadlines(client, subscription, flow.ack_deadline_seconds)
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._call: Any = None
        self._name = str(uuid.uuid4())
        self._listener = threading.Thread(target=self._listen, name="pull", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(threads)
        ]

    @property
    def is_well(self) -> bool:
        """Whether its threads run: one keeps a stream open (or tries to), the other sends answers."""
        return self._listener.is_alive() and self._ack_deadlines.is_alive and not self._stopping.is_set()

    def run(self, grace_seconds: float) -> None:
        """Handle messages until `stop` is called, then shut down within `grace_seconds`.

        Raises `PullFailed` if the subscription can't be pulled from.
        """
        self._ack_deadlines.start()
        for thread in (self._listener, *self._workers):
            thread.start()
        while not self._stopping.wait(_SIGNAL_SECONDS):
            pass
        self._shut_down(time.monotonic() + grace_seconds)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Make `run` shut down and return. Thread-safe; may be called more than once."""
        self._stopping.set()

    def _shut_down(self, deadline: float) -> None:
        """Close the stream, give back waiting messages, let running attempts finish or release, send the answers."""
        self._close_stream()
        self._give_back_waiting()
        for _ in self._workers:
            self._waiting.put(None)
        self._sender.drain()
        for worker in self._workers:
            worker.join(max(0.0, deadline - _ANSWER_SECONDS - time.monotonic()))
        if late := sum(worker.is_alive() for worker in self._workers):
            _log.error("%d attempts did not end in time; their leases will expire", late)
        self._ack_deadlines.close(max(0.0, deadline - time.monotonic()))

    def _close_stream(self) -> None:
        """Wait for Pub/Sub to end the stream, so that messages already on their way are received and given back.

        `_stopping` ends our side of the stream. After a cancellation, messages on their way are only redelivered at
        their ack deadlines.
        """
        self._listener.join(_STREAM_END_SECONDS)
        if self._listener.is_alive() and self._call is not None:
            _log.warning("Pub/Sub did not end the stream in time; messages on their way will be redelivered later")
            self._call.cancel()
            self._listener.join(_STREAM_END_SECONDS)

    def _give_back_waiting(self) -> None:
        try:
            while True:
                self._ack_deadlines.give_back(self._waiting.get_nowait().ack_id, 0)
        except Empty:
            return

    def _listen(self) -> None:
        """Keep a stream open: Pub/Sub closes each one sooner or later, so open the next."""
        failures = 0
        try:
            while not self._stopping.is_set():
                failures = 0 if self._receive() else failures + 1
                self._stopping.wait(_backoff(failures, random.random()))  # noqa: S311  # spreads load, guards nothing
        except google_errors.GoogleAPICallError as error:
            self._failure = PullFailed(f"{self._subscription} can't be pulled from: {error.message}")
        except Exception as error:
            self._failure = error
        self._stopping.set()

    def _receive(self) -> bool:
        """Receive until the stream ends. Returns whether it worked; raises permanent errors."""
        was_good, started = False, time.monotonic()
        try:
            self._call = self._client.streaming_pull(requests=self._requests(), retry=None, timeout=None)
            for response in self._call:
                was_good = True
                self._enqueue(StreamingPullResponse.pb(response).received_messages)
        except _TRANSIENT as error:
            was_good = was_good or time.monotonic() - started >= _GOOD_SECONDS
            _log.log(logging.DEBUG if was_good else logging.WARNING, "the stream broke: %s", type(error).__name__)
        except google_errors.Cancelled:
            if not self._stopping.is_set():
                raise
        return was_good

    def _requests(self) -> Iterator[StreamingPullRequest]:
        yield StreamingPullRequest(
            subscription=self._subscription,
            stream_ack_deadline_seconds=self._flow.ack_deadline_seconds,
            max_outstanding_messages=self._flow.messages,
            max_outstanding_bytes=self._flow.bytes,
            client_id=self._name,
        )
        while not self._stopping.wait(_HEARTBEAT_SECONDS):
            yield StreamingPullRequest()

    def _enqueue(self, messages: Any) -> None:
        self._ack_deadlines.hold([message.ack_id for message in messages])
        for message in messages:
            self._waiting.put(message)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            if work_off(self._sender.handle, message):
                self._ack_deadlines.acknowledge(message.ack_id)
            else:
                self._ack_deadlines.give_back(message.ack_id, 0 if self._stopping.is_set() else PAUSE_SECONDS)


def serve(puller: Puller, *, address: str, port: int, grace_seconds: float, health: Callable[[], str]) -> None:
    """Pull until SIGTERM or SIGINT, and answer health checks on `port` of the IP `address` with what `health` says.

    Raises `PullFailed`, `Misconfigured`.
    """

    def at_signal(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=puller.stop, name="stop").start()  # a signal handler must not block on locks

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, at_signal)
    with health_endpoint(address, port, lambda: puller.is_well, health):
        puller.run(grace_seconds)


def work_off(handle: Callable[[ReceivedMessage], HandlerResult], message: Any) -> bool:
    """Handle one message (a raw `ReceivedMessage`) and return whether to acknowledge it.

    `handle` is `Handler.handle`. Its errors are logged, not raised.
    """
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
    """Seconds to wait before opening a stream after `failures` failed ones; `jitter` is random, from 0 to 1."""
    return min(_LONGEST_BACKOFF_SECONDS, 0.1 * 2.0 ** min(failures, 30)) * jitter

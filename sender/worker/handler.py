"""One message, one attempt: claim → compose → send → finish.

Each mail is handled on its own thread, so a slow one delays no other. Claims and results of concurrent mails are
batched. If the process dies before the claim, nothing has happened and Pub/Sub redelivers; `sender.worker.attempt`
describes later crashes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from sender.worker import reports
from sender.worker.attempt import Attempt, Attempts, Ended, HandlerResult, PutOff, Start
from sender.worker.claim_slots import ClaimSlots
from sender.worker.claims import Claims
from sender.worker.timing import Timings
from shared.batcher import Batching
from shared.deadline import Deadline
from shared.delivery.lanes import DEFAULT_LANE, NO_LANES, Lanes
from shared.delivery.model import Decision, Reason
from shared.delivery.pause import Pause
from shared.delivery.store import ClaimRequest, MailStore
from shared.errors import InvalidMessage, Unavailable
from shared.firestore.database import Unwritable
from shared.observability import tracing
from shared.observability.events import Event, log_event
from shared.observability.tracing import NO_TRACER, Annotate, Tracer
from shared.pubsub import message
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES, MAX_NAME_BYTES, PUBSUBS_OWN, Message
from shared.pubsub.publisher import Publisher
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.sender")

#: Pub/Sub allows 100 attributes per message; the rest is for those that dead-lettering adds.
_KEPT_ATTRIBUTES = 90


class Handler(Protocol):
    """Handles the messages of both entry points."""

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        """Do what the message asks for.

        Raises `Unavailable` if Firestore or Pub/Sub fails; the message must not be acknowledged then.
        """
        ...

    def drain(self) -> None:
        """Start nothing new and release every mail that has not reached the mail server. Called on SIGTERM."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `claimed` mails are claimed and not yet sent; others wait, unclaimed, for up to `queue_seconds`.

    `attempt_seconds` is the wall-clock time from the claim to the result.
    """

    claimed: int
    queue_seconds: float
    attempt_seconds: float
    batching: Batching


class Sender:
    """The `Handler` that sends mail. Thread-safe."""

    def __init__(
        self,
        store: MailStore,
        attempts: Attempts,
        dead_letters: Publisher,
        limits: Limits,
        *,
        collection: str,
        pause: Callable[[], Pause],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
        lanes: Lanes = NO_LANES,
        lane: str = DEFAULT_LANE,
    ) -> None:
        """`clock` returns the time in UTC; `monotonic` returns seconds and is used for durations in the log.

        `pause` is `Control.pause`; `lane` is this sender's, one of `lanes` or the default one.
        """
        self._store = store
        self._attempts = attempts
        self._dead_letters = dead_letters
        self._attempt_seconds = limits.attempt_seconds
        self._collection = collection
        self._pause = pause
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer
        self._lanes = lanes
        self._lane = lane
        self._slots = ClaimSlots(lambda waiting: min(limits.claimed, attempts.capacity(waiting)), limits.queue_seconds)
        self._claims = Claims(store, limits.batching)

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._slots.close()
        self._attempts.drain()

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        """See `Handler.handle`. A message that can never work is dead-lettered."""
        with working_on(received, self._tracer) as annotate:
            try:
                decoded = message.decode(received.data, received.attributes, received.message_id, self._collection)
                if self._lanes.of_message(received.attributes) == self._lane:
                    handled = self._attempt(decoded)
                else:  # a subscription without a filter; the other lane's has the message as well
                    handled = reports.declined(Decision(Reason.OTHER_LANE), decoded.path, self._clock())
            except InvalidMessage as error:
                handled = self._dead_letter(received, error)
            except Unwritable as error:
                refused = InvalidMessage("unwritable", f"The document can't be written: {error}")
                handled = self._dead_letter(received, refused)
            annotate("reason", handled.reason)
            return handled

    def _attempt(self, request: Message) -> HandlerResult:
        if reason := self._slots.acquire():
            return reports.declined(Decision(reason, acknowledge=False), request.path, self._clock())
        try:
            outcome = self._claim_and_send(request)
        finally:
            self._slots.release()
        match outcome:
            case HandlerResult():
                return outcome
            case PutOff():
                return reports.put_off(outcome, self._claims.end(outcome.release))
            case Ended():
                return self._finish(outcome)

    def _claim_and_send(self, request: Message) -> HandlerResult | PutOff | Ended:
        """Claim the document and make the attempt. Deadline and lease both count from just before the claim."""
        timings = Timings(self._monotonic, self._tracer)
        start = Start(self._clock(), Deadline.after(self._attempt_seconds), timings)
        with timings.step("claim"):
            paused = self._pause().since is not None
            claim = self._claims.begin(ClaimRequest(request.path, start.at, request.mail, paused))
        if isinstance(claim, Decision):
            return reports.declined(claim, request.path, start.at)
        return self._attempts.make(Attempt(claim, start), self._claims.sending)

    def _finish(self, ended: Ended) -> HandlerResult:
        try:
            with ended.attempt.start.timings.step("finish"):
                written = self._claims.end(ended.finish)
        except (Unavailable, Unwritable):
            reports.unwritten(ended, self._store.changes_after(ended.finish))
            raise
        is_last = written.reason is Reason.CANCELLED
        last = {"delivery.state": ended.finish.result.state}
        return reports.finished(ended, last if is_last else self._store.changes_after(ended.finish), written)

    def _dead_letter(self, received: ReceivedMessage, error: InvalidMessage) -> HandlerResult:
        """Publish the unchanged message to the dead-letter topic, with its id and the reason as attributes."""
        kept = islice(filter(_is_kept, received.attributes.items()), _KEPT_ATTRIBUTES)
        added = {"messageId": received.message_id, "reason": error.reason, "error": str(error)}
        self._dead_letters.publish(received.data, dict(kept) | added)
        fields = {"message_id": received.message_id, "reason": error.reason}
        log_event(_log, Event.REFUSAL, f"message dead-lettered: {error.reason}", fields, logging.ERROR)
        return HandlerResult(True, error.reason)


@contextmanager
def working_on(received: ReceivedMessage, tracer: Tracer) -> Iterator[Annotate]:
    """Run the block within the trace in which the message was published."""
    published_in = tracing.of_message(received.attributes)
    with tracing.within(published_in), tracer.span("message", message_id=received.message_id) as annotate:
        yield annotate


def _is_kept(attribute: tuple[str, str]) -> bool:
    """Whether a dead letter keeps the attribute: Pub/Sub would refuse a longer one, and its own words are not ours."""
    name, value = attribute
    is_short = len(name.encode()) <= MAX_NAME_BYTES and len(value.encode()) <= MAX_ATTRIBUTE_BYTES
    return is_short and not name.startswith(PUBSUBS_OWN)

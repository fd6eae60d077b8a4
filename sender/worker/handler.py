"""One message, one attempt: claim → compose → send → finish.

Each mail has a thread of its own, and hangs alone. Claims and results of concurrent mails share requests. If the
process dies before the claim, nothing has happened, and Pub/Sub delivers again; `sender.worker.attempt` says what
happens if it dies later.
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
from shared.delivery.model import Decision
from shared.delivery.store import ClaimRequest, MailStore
from shared.errors import InvalidMessage, Unavailable
from shared.firestore.database import Unwritable
from shared.observability import tracing
from shared.observability.events import Event, log_event
from shared.observability.tracing import NO_TRACER, Annotate, Tracer
from shared.pubsub import message
from shared.pubsub.message import Message
from shared.pubsub.publisher import Publisher
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.sender")

#: Pub/Sub allows 100 attributes a message; a dead letter needs room for its own.
_KEPT_ATTRIBUTES = 90


class Handler(Protocol):
    """What both entry points hand their messages to."""

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        """Do what the message asks for.

        Raises `Unavailable` when Firestore or Pub/Sub failed, so that the message must not be acknowledged.
        """
        ...

    def drain(self) -> None:
        """Begin nothing new: mails that have not reached the mail server are given back. Called at SIGTERM."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`claimed` mails may be claimed and not yet sent; others wait for that, unclaimed, for `queue_seconds`.

    `attempt_seconds` is wall-clock time from the claim to the result.
    """

    claimed: int
    queue_seconds: float
    attempt_seconds: float
    batching: Batching


class Sender:
    """A `Handler`; called by many threads."""

    def __init__(
        self,
        store: MailStore,
        attempts: Attempts,
        dead_letters: Publisher,
        limits: Limits,
        *,
        collection: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`clock` tells the time in UTC; `monotonic` counts seconds, for the log."""
        self._store = store
        self._attempts = attempts
        self._dead_letters = dead_letters
        self._attempt_seconds = limits.attempt_seconds
        self._collection = collection
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer
        self._slots = ClaimSlots(limits.claimed, limits.queue_seconds)
        self._claims = Claims(store, limits.batching)

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._slots.close()
        self._attempts.drain()

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        """See `Handler.handle`. A message that no repetition can make work is dead-lettered."""
        with self._working_on(received) as annotate:
            try:
                handled = self._attempt(
                    message.decode(received.data, received.attributes, received.message_id, self._collection)
                )
            except InvalidMessage as error:
                handled = self._dead_letter(received, error)
            except Unwritable as error:
                refused = InvalidMessage("unwritable", f"Firestore refuses to write the document: {error}")
                handled = self._dead_letter(received, refused)
            annotate("reason", handled.reason)
            return handled

    @contextmanager
    def _working_on(self, received: ReceivedMessage) -> Iterator[Annotate]:
        """Within the block, logs and spans belong to the trace in which the message was published."""
        published_in = tracing.of_message(received.attributes)
        with tracing.within(published_in), self._tracer.span("message", message_id=received.message_id) as annotate:
            yield annotate

    def _attempt(self, asked: Message) -> HandlerResult:
        if reason := self._slots.acquire():
            return reports.declined(Decision(reason, acknowledge=False), asked.path)
        try:
            made = self._made(asked)
        finally:
            self._slots.release()
        match made:
            case Decision():
                return reports.declined(made, asked.path)
            case PutOff():
                return reports.put_off(made, self._claims.end(made.release))
            case Ended():
                return self._finish(made)

    def _made(self, asked: Message) -> Decision | PutOff | Ended:
        """Claim and make the attempt. Its deadline is counted from before the claim, as the lease is."""
        timings = Timings(self._monotonic, self._tracer)
        start = Start(self._clock(), Deadline.after(self._attempt_seconds), timings)
        with timings.step("claim"):
            claim = self._claims.begin(ClaimRequest(asked.path, start.at, asked.mail))
        return claim if isinstance(claim, Decision) else self._attempts.make(Attempt(claim, start))

    def _finish(self, ended: Ended) -> HandlerResult:
        state = self._store.state_after(ended.finish)
        try:
            with ended.attempt.start.timings.step("finish"):
                written = self._claims.end(ended.finish)
        except Unavailable:
            reports.unwritten(ended, state)
            raise
        return reports.finished(ended, state, written)

    def _dead_letter(self, received: ReceivedMessage, error: InvalidMessage) -> HandlerResult:
        """Put the message, as it came, where an operator finds it, with the reason beside it."""
        kept = islice(received.attributes.items(), _KEPT_ATTRIBUTES)
        self._dead_letters.publish(received.data, {**dict(kept), "reason": error.reason, "error": str(error)[:500]})
        fields = {"message_id": received.message_id, "reason": error.reason}
        log_event(_log, Event.REFUSAL, f"message dead-lettered: {error}", fields, logging.ERROR)
        return HandlerResult(True, error.reason)

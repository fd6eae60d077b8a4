"""One message, one attempt: claim → compose → send → finish.

If the process dies before the claim, nothing has happened, and Pub/Sub delivers again; `sender.attempt` says what
happens if it dies later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Protocol

from sender.attempt import Attempt, Attempts, Start, Verdict
from sender.course import Course
from shared import journal, message, tracing
from shared.database import Unwritable
from shared.deadline import Deadline
from shared.errors import InvalidMessage
from shared.journal import Event
from shared.message import Message
from shared.pubsub import Publisher
from shared.push import Delivered
from shared.states import Decision, Lease
from shared.store import MailStore
from shared.tracing import NO_TRACER, Annotate, Tracer

_log = logging.getLogger("firepost.sender")

#: Pub/Sub allows 100 attributes a message; a dead letter needs room for its own.
_KEPT_ATTRIBUTES = 90


class Handler(Protocol):
    """What both front doors hand their messages to."""

    def handle(self, delivered: Delivered) -> Verdict:
        """Do what the message asks for.

        Raises `Unavailable` when Firestore or Pub/Sub failed, so that the message must not be acknowledged.
        """
        ...

    def drain(self) -> None:
        """Begin nothing new: mails that have not reached the mail server are given back. Called at SIGTERM."""
        ...


class Sender:
    """Does what messages ask for, each on its own."""

    def __init__(
        self,
        store: MailStore,
        attempts: Attempts,
        dead_letters: Publisher,
        *,
        collection: str,
        attempt_seconds: float,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`attempt_seconds` is wall-clock time from the claim on; `clock` tells the time in UTC.

        `monotonic` counts seconds, for the log.
        """
        self._store = store
        self._attempts = attempts
        self._dead_letters = dead_letters
        self._collection = collection
        self._attempt_seconds = attempt_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._attempts.drain()

    def handle(self, delivered: Delivered) -> Verdict:
        """See `Handler.handle`."""
        with self.working_on(delivered) as annotate:
            verdict = self.refusing(delivered, lambda: self.attempt(self.read(delivered)))
            annotate("reason", verdict.reason)
            return verdict

    @contextmanager
    def working_on(self, delivered: Delivered) -> Iterator[Annotate]:
        """Within the block, logs and spans belong to the trace in which the message was published."""
        published_in = tracing.of_message(delivered.attributes)
        with tracing.within(published_in), self._tracer.span("message", message_id=delivered.message_id) as annotate:
            yield annotate

    def refusing(self, delivered: Delivered, work: Callable[[], Verdict]) -> Verdict:
        """What `work` on the message comes to; one that no repetition can make work is dead-lettered."""
        try:
            return work()
        except InvalidMessage as error:
            return self._dead_letter(delivered, error)
        except Unwritable as error:
            refused = InvalidMessage("unwritable", f"Firestore refuses to write the document: {error}")
            return self._dead_letter(delivered, refused)

    def read(self, delivered: Delivered) -> Message:
        """What the message asks for; raises `InvalidMessage`."""
        return message.decode(delivered.data, delivered.attributes, delivered.message_id, self._collection)

    def start(self) -> Start:
        """An attempt begins. The deadline is counted from before the claim: the lease is, too."""
        return Start(self._clock(), Deadline.after(self._attempt_seconds), Course(self._monotonic, self._tracer))

    def attempt(self, asked: Message, start: Start | None = None, written: Lease | None = None) -> Verdict:
        """Claim, and make the attempt. `start` is when that was first tried, `written` a lease that may stand since.

        Raises `Unavailable`, `InvalidMessage` and `Unwritable`.
        """
        start = start or self.start()
        with start.course.step("claim"):
            claim = self._store.claim(asked.path, start.at, asked.mail, written)
        return self.decline(claim, asked.path) if isinstance(claim, Decision) else self.carry_out(Attempt(claim, start))

    def decline(self, decision: Decision, path: str) -> Verdict:
        """There is no attempt to make."""
        journal.note(_log, Event.MESSAGE, f"message {decision.reason}", {"document": path, "reason": decision.reason})
        return Verdict(decision.acknowledge, decision.reason)

    def carry_out(self, attempt: Attempt) -> Verdict:
        """Make the attempt, and write its result."""
        made = self._attempts.make(attempt)
        return made if isinstance(made, Verdict) else self._attempts.finish(made)

    def _dead_letter(self, delivered: Delivered, error: InvalidMessage) -> Verdict:
        """Put the message, as it came, where an operator finds it, with the reason beside it."""
        kept = islice(delivered.attributes.items(), _KEPT_ATTRIBUTES)
        self._dead_letters.publish(delivered.data, {**dict(kept), "reason": error.reason, "error": str(error)[:500]})
        fields = {"message_id": delivered.message_id, "reason": error.reason}
        journal.note(_log, Event.REFUSAL, f"message dead-lettered: {error}", fields, logging.ERROR)
        return Verdict(True, error.reason)

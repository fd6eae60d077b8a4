"""Work that no event triggers: publish what is due or stranded, and conclude expired leases.

Called every minute. Runs may overlap: publishing twice is harmless, and every write is conditional.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from dispatcher.outbox import Effect, Outbox
from shared.delivery.machine import on_reconcile
from shared.delivery.model import QUEUED, Decision, State, state_of
from shared.delivery.policy import Policy
from shared.firestore.database import Database, Found, Unwritable
from shared.observability.events import Event, log_event, millis
from shared.observability.tracing import NO_TRACER, Tracer
from shared.pubsub.publisher import Unpublishable

_log = logging.getLogger("firepost.reconciler")

_PAGE = 300

#: Documents that are remembered as unwritable.
_REMEMBERED = 10_000


class Reconciler:
    """Examines all queued and processing documents, in pages, for a bounded time."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        policy: Policy,
        collection: str,
        clock: Callable[[], datetime],
        seconds: float = 40.0,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`seconds` is the time limit of one run, on the `monotonic` clock: less than the interval between runs."""
        self._database = database
        self._outbox = outbox
        self._policy = policy
        self._collection = collection
        self._clock = clock
        self._seconds = seconds
        self._monotonic = monotonic
        self._tracer = tracer
        self._unwritable: dict[str, datetime] = {}

    def run(self) -> dict[str, int | bool]:
        """One run; returns how many documents were examined, and how many had which outcome.

        `complete` is false if the time ran out. Due documents come first, so a backlog does not delay them. Raises
        `Unavailable` if Firestore or Pub/Sub fails; what was done until then stays done.
        """
        began, counts, complete = self._monotonic(), Counter[str](), False
        try:
            complete = self._examine(began + self._seconds, counts)
        finally:
            fields = {**counts, "complete": complete, "duration_ms": millis(self._monotonic() - began)}
            log_event(_log, Event.RECONCILER_RUN, "reconciler run", fields)
        return {**counts, "complete": complete}

    def _examine(self, end: float, counts: Counter[str]) -> bool:
        """Examine and count documents until `end`; False if the time ran out before the last one."""
        for found in self._candidates():
            if self._monotonic() > end:
                return False
            counts["examined"] += 1
            if self._unwritable.get(found.path) == found.updated:
                continue
            now = self._clock()
            decision = on_reconcile(found.known, found.updated, now, self._policy)
            if decision.publish or decision.write is not None:
                with self._tracer.span("reconciliation", document=found.path, reason=decision.reason):
                    self._execute(found, decision, now)
                counts[decision.reason] += 1
        return True

    def _candidates(self) -> Iterator[Found]:
        """The due documents, then all that are queued or processing; some may come twice, which is harmless."""
        yield from self._database.due(self._collection, self._clock(), _PAGE)
        for state in (State.PROCESSING, *QUEUED):
            after = None
            while page := self._database.in_state(self._collection, state, _PAGE, after):
                yield from page
                after = page[-1].path

    def _execute(self, found: Found, decision: Decision, now: datetime) -> None:
        before = after = state_of(found.known)
        try:
            written = self._outbox.execute(Effect.of(decision, found.path, found.version, now))
            if written and decision.write is not None:
                after = decision.write.get("delivery.state", before)
        except Unpublishable:
            after = State.ERROR
            _log.error("Pub/Sub refuses the message", extra={"fields": {"document": found.path}})
        except Unwritable:
            self._remember_unwritable(found)
            _log.error("Firestore refuses to change the document", extra={"fields": {"document": found.path}})
        fields = {"document": found.path, "reason": decision.reason, "before": before, "after": after}
        log_event(_log, Event.RECONCILIATION, f"reconciled {decision.reason}", fields)

    def _remember_unwritable(self, found: Found) -> None:
        """Skip this version of the document in later runs of this process.

        Its note can't be written, so every run would publish it again. The message that it has got concludes it: the
        sender can't claim it either, and refuses the message.
        """
        if len(self._unwritable) >= _REMEMBERED:
            self._unwritable.pop(next(iter(self._unwritable)), None)
        self._unwritable[found.path] = found.updated

"""What no event will do: publish what has become due or got lost, and conclude leases whose holders vanished.

Called every minute. It may run beside itself: publishing twice is harmless, and every write is conditional.
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

_log = logging.getLogger("firepost.reconciler")

_PAGE = 300


class Reconciler:
    """Looks at every document that is queued or being processed, in pages, for a bounded time."""

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
        """`seconds` is the time, as `monotonic` counts it, that one run may take: less than the pause between two."""
        self._database = database
        self._outbox = outbox
        self._policy = policy
        self._collection = collection
        self._clock = clock
        self._seconds = seconds
        self._monotonic = monotonic
        self._tracer = tracer

    def run(self) -> dict[str, int | bool]:
        """One run: how many documents were examined, and how many of them met which fate.

        `complete` is false when the time ran out. Those that are due come first, so a backlog delays none of them.
        Raises `Unavailable` when Firestore or Pub/Sub fail; what was done until then stays done.
        """
        began, counts, complete = self._monotonic(), Counter[str](), False
        try:
            complete = self._examine(began + self._seconds, counts)
        finally:
            fields = {**counts, "complete": complete, "duration_ms": millis(self._monotonic() - began)}
            log_event(_log, Event.RECONCILER_RUN, "reconciler run", fields)
        return {**counts, "complete": complete}

    def _examine(self, end: float, counts: Counter[str]) -> bool:
        """Go through the documents until `end`, and count; False if the time did not do for all."""
        for found in self._candidates():
            if self._monotonic() > end:
                return False
            counts["examined"] += 1
            decision = on_reconcile(found.known, found.updated, self._clock(), self._policy)
            if decision.publish or decision.write is not None:
                with self._tracer.span("reconciliation", document=found.path, reason=decision.reason):
                    self._execute(found, decision)
                counts[decision.reason] += 1
        return True

    def _candidates(self) -> Iterator[Found]:
        """Documents that are due, then all that are queued or in work; some come twice, which does no harm."""
        yield from self._database.due(self._collection, self._clock(), _PAGE)
        for state in (State.PROCESSING, *QUEUED):
            after = None
            while page := self._database.in_state(self._collection, state, _PAGE, after):
                yield from page
                after = page[-1].path

    def _execute(self, found: Found, decision: Decision) -> None:
        before = after = state_of(found.known)
        try:
            written = self._outbox.execute(Effect.of(decision, found.path, found.version))
            if written and decision.write is not None:
                after = decision.write.get("delivery.state", before)
        except Unwritable as error:
            _log.error("the document can't be written to: %s", error, extra={"fields": {"document": found.path}})
        fields = {"document": found.path, "reason": decision.reason, "before": before, "after": after}
        log_event(_log, Event.RECONCILIATION, f"reconciled {decision.reason}", fields)

"""Work that no event triggers: publish what is due or stranded, and conclude expired leases.

Called every minute. A run reads one page of the queued documents and one of those in PROCESSING, each by id from where
the last run stopped, and then everything that is due. Nothing is ever out of reach: with n queued documents, each is
examined within 1 + ceil(n / PAGE) runs, whatever lies before it. What is scheduled for later is not read otherwise.
While all mail is paused, what is due is not read either, and waits.

A run may stay until the next one, and publish what becomes due meanwhile; it ends when nothing will.

Runs may overlap: publishing twice is harmless, and every write is conditional.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from opentelemetry.context import Context

from dispatcher.catching_up import BULK, CatchingUp, Decide
from dispatcher.outbox import Effect, Executed, Outbox
from shared.control import Control
from shared.delivery.lanes import NO_LANES, Lanes
from shared.delivery.machine import on_reconcile, while_paused
from shared.delivery.model import QUEUED, Decision, DocumentState, Reason, State, state_of
from shared.delivery.pause import Pause
from shared.delivery.policy import Policy
from shared.document_ids import is_document_id, own_path
from shared.errors import FirepostError
from shared.firestore.database import Database, Found, Page, Snapshot, Stale, Unwritable, Write
from shared.observability import tracing
from shared.observability.events import Event, log_event, millis, sight
from shared.observability.tracing import NO_TRACER, Tracer
from shared.pubsub.publisher import Unpublishable

_log = logging.getLogger("firepost.reconciler")

#: Documents of a walk that one run examines; docs/capacity.md says what that costs, and how soon all are seen.
PAGE: Final = 500

#: A run that stays looks for due documents at most this often.
LOOK_SECONDS: Final = 0.25

#: The walks over the collection, each with a position of its own: a document in PROCESSING never waits for queued ones.
_WALKS: Final[Mapping[str, Sequence[State]]] = {"processing": (State.PROCESSING,), "queued": QUEUED}

#: Documents that are remembered as unwritable.
_REMEMBERED = 10_000


class Reconciler:
    """Examines documents, in pages, for a bounded time."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        policy: Policy,
        collection: str,
        control: Control,
        clock: Callable[[], datetime],
        seconds: float = 40.0,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
        page: int = PAGE,
        lanes: Lanes = NO_LANES,
        stopping: threading.Event | None = None,
    ) -> None:
        """`seconds` is the time limit for examining documents, on the `monotonic` clock: less than the interval between
        runs. `stopping` is set by `stop`.
        """
        self._database = database
        self._outbox = outbox
        self._policy = policy
        self._collection = collection
        self._control = control
        self._catching_up = CatchingUp(database, policy, collection, clock)
        self._clock = clock
        self._seconds = seconds
        self._monotonic = monotonic
        self._tracer = tracer
        self._unwritable: dict[str, datetime] = {}
        self._page = page
        self._lanes = lanes
        self._stopping = stopping or threading.Event()

    def stop(self) -> None:
        """End the runs that stay. Called on SIGTERM."""
        self._stopping.set()

    def run(self, stay: float = 0.0) -> dict[str, int | bool]:
        """One run; returns how many documents were examined, and how many had which outcome.

        It stays for up to `stay` seconds from its begin, as long as documents become due. `complete` is false if the
        time ran out before all due documents were published. Raises `Unavailable` if Firestore or Pub/Sub fails; what
        could be done is done.
        """
        began, now = self._monotonic(), self._clock()
        counts, complete, pause = Counter[str](), False, Pause()
        try:
            pause = self._control.pause()
            complete = self._examine_all(pause, began + self._seconds, counts) and self._stay(now, began + stay, counts)
        finally:
            fields: dict[str, object] = {
                **counts,
                "complete": complete,
                "duration_ms": millis(self._monotonic() - began),
            }
            if duration := pause.duration(self._clock()):
                fields["pause"] = duration
            log_event(_log, Event.RECONCILER_RUN, "reconciler run", fields)
        return {**counts, "complete": complete}

    def _examine_all(self, pause: Pause, end: float, counts: Counter[str]) -> bool:
        """Examine and count documents until `end`; False if the time ran out before the last one.

        A document that fails does not keep the run from the others; the first failure is raised at the end.
        """
        failures: list[FirepostError] = []
        complete = True
        for page, decide in self._pages(pause):
            if self._monotonic() > end:
                complete = False
                break
            failures += self._examine(page, decide, counts)
        if failures:
            raise failures[0]
        return complete

    def _stay(self, looked: datetime, end: float, counts: Counter[str]) -> bool:
        """Publish what becomes due after `looked` and until `end`, unless all mail is paused, or catches up after that.

        Returns True; raises the first failure.
        """
        while (due := self._next_due(looked, end)) is not None:
            seconds = max(LOOK_SECONDS, (due - looked).total_seconds())
            if self._stopping.wait(seconds):
                break
            last, looked = looked, self._clock()
            for page in self._database.due(self._collection, looked, BULK, after=last):
                if failures := self._examine(page, self._decide, counts):
                    raise failures[0]
        return True

    def _next_due(self, after: datetime, end: float) -> datetime | None:
        """When the first document after that time is due; None if that is after `end`. Reads one document."""
        pause, left = self._control.pause(), end - self._monotonic()
        if left <= 0 or pause.since is not None or pause.resumed is not None:
            return None
        for [found] in self._database.due(self._collection, after + timedelta(seconds=left), 1, after=after):
            delivery = found.known.delivery
            return (delivery.next_attempt_time if delivery else None) or after
        return None

    def _pages(self, pause: Pause) -> Iterator[tuple[Sequence[Found], Decide]]:
        """The walks' next pages, which are small, and then all that is due: so neither waits for the other for long.

        A failed walk does not keep the run from what is due; its failure is raised after that.
        """
        failure = None
        try:
            for page in self._next_pages():
                yield page, partial(self._on_walk, pause)
        except FirepostError as error:
            failure = error
        for page, decide in self._due(pause):
            if self._control.pause().since is not None:
                break
            yield page, decide
        if failure is not None:
            raise failure

    def _due(self, pause: Pause) -> Iterator[tuple[Sequence[Found], Decide]]:
        """All that is due; after a resumption, what is due since then, and a share of what has waited before."""
        if pause.since is not None:
            return
        resumed = pause.resumed
        before = resumed.time if resumed is not None else None
        for page in self._database.due(self._collection, self._clock(), BULK, after=before):
            yield page, self._decide
        if resumed is not None:
            yield from self._catching_up.pages(resumed)

    def _decide(self, found: Found, now: datetime) -> Decision:
        return on_reconcile(found.known, found.updated, now, self._policy)

    def _on_walk(self, pause: Pause, found: Found, now: datetime) -> Decision:
        """The decision about a document of a walk; while what has waited is published in its order, it does not."""
        decision = self._decide(found, now)
        if pause.since is not None or (pause.resumed is not None and decision.reason is Reason.DUE):
            return while_paused(decision, found.known, now, self._policy)
        return decision

    def _next_pages(self) -> Sequence[Sequence[Found]]:
        """The next page of each walk. The new positions are kept first: no page can hold up the walks for ever."""
        path = position_path(self._collection)
        [kept] = self._database.read([path])
        if isinstance(kept, FirepostError):
            raise kept
        pages = {
            walk: self._database.in_states(self._collection, states, self._page, _position(kept, walk))
            for walk, states in _WALKS.items()
        }
        moved = {walk: _end(page) for walk, page in pages.items()}
        changes = {walk: end for walk, end in moved.items() if end != (kept.fields.get(walk) if kept else None)}
        if changes:
            [outcome] = self._database.write([Write(path, changes, kept.version if kept else None)])
            if isinstance(outcome, FirepostError) and not isinstance(outcome, Stale):  # stale: another run has moved on
                raise outcome
        return [page.found for page in pages.values() if page.found]

    def _examine(self, page: Sequence[Found], decide: Decide, counts: Counter[str]) -> list[FirepostError]:
        """Execute and count the decisions about the documents; returns the failures that a later run may mend."""
        counts["examined"] += len(page)
        planned = [plan for found in page if (plan := self._plan(found, decide)) is not None]
        outcomes = self._outbox.execute_all([plan.effect for plan in planned])
        failures: list[FirepostError] = []
        for plan, outcome in zip(planned, outcomes, strict=True):
            if isinstance(outcome, FirepostError) and not isinstance(outcome, Unwritable | Unpublishable):
                failures.append(outcome)
                continue
            if isinstance(outcome, Unwritable):
                self._remember_unwritable(plan.found)
            counts[plan.decision.reason] += 1
            with tracing.within(plan.trace):
                _report(plan, outcome)
        return failures

    def _plan(self, found: Found, decide: Decide) -> _Plan | None:
        """What to do about a document; None if that is nothing, which is only logged if the document is due."""
        if self._unwritable.get(found.path) == found.updated:
            return None
        now = self._clock()
        decision = decide(found, now)
        if not decision.publish and decision.write is None:
            if _is_due(found.known, now) and decision.reason is not Reason.PAUSED:
                _log_decision(found, decision, now, state_of(found.known))
            return None
        with self._tracer.span("reconciliation", document=found.path, reason=decision.reason):
            effect = Effect.of(decision, found.path, found.version, now, self._lanes.of(found.known.traits))
            return _Plan(found, decision, effect, now, tracing.current())

    def _remember_unwritable(self, found: Found) -> None:
        """Skip this version of the document in later runs of this process.

        Its note can't be written, so every run would publish it again. The message that it has got concludes it: the
        sender can't claim it either, and refuses the message.
        """
        if len(self._unwritable) >= _REMEMBERED:
            self._unwritable.pop(next(iter(self._unwritable)), None)
        self._unwritable[found.path] = found.updated


@dataclass(frozen=True, slots=True)
class _Plan:
    """A decision at `now` about a document, and the trace that its message and its log entry belong to."""

    found: Found
    decision: Decision
    effect: Effect
    now: datetime
    trace: Context


def position_path(collection: str) -> str:
    """The path of the document with the walks' positions."""
    return own_path(collection, "reconciler")


def _position(kept: Snapshot | None, walk: str) -> str | None:
    """The id after which the walk goes on; None, also for anything unreadable, is the beginning."""
    position = kept.fields.get(walk) if kept else None
    return position if isinstance(position, str) and is_document_id(position) else None


def _end(page: Page) -> str | None:
    """The id after which the next run goes on; None after the last page, so that the walk begins again."""
    return None if page.is_last else page.found[-1].path.rpartition("/")[2]


def _is_due(known: DocumentState, now: datetime) -> bool:
    scheduled = known.delivery.next_attempt_time if known.delivery else None
    return scheduled is not None and scheduled <= now


def _report(plan: _Plan, outcome: Executed | FirepostError) -> None:
    after, marked_after = state_of(plan.found.known), None
    path = plan.found.path
    match outcome:
        case Unpublishable():
            after = State.ERROR
            _log.error("Pub/Sub refuses the message", extra={"fields": {"document": path}})
        case Unwritable():
            _log.error("Firestore refuses to change the document", extra={"fields": {"document": path}})
        case Executed(written=True) if plan.decision.write is not None:
            after, marked_after = plan.decision.write.get("delivery.state", after), outcome.marked_after
    _log_decision(plan.found, plan.decision, plan.now, after, marked_after)


def _log_decision(
    found: Found, decision: Decision, now: datetime, after: State | None, marked_after: float | None = None
) -> None:
    fields: dict[str, object] = {
        "document": found.path,
        "reason": decision.reason,
        "before": state_of(found.known),
        "after": after,
        **sight(found.known, now),
    }
    if marked_after is not None:
        fields["marked_after_ms"] = millis(marked_after)
    log_event(_log, Event.RECONCILIATION, f"reconciled {decision.reason}", fields)

"""The benchmark's targets, and whether they are met: calculated from the results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import plan
from bench.figures import Operations, Row
from bench.proxy import READS, WRITES
from bench.results import Results

#: Firestore sends an event for each write: the application's, PENDING, PROCESSING, and the result.
EVENTS_PER_MAIL = 4
#: Pub/Sub delivers some messages twice, and each delivery reads the document; this allows for that.
_REDELIVERED = 1.02
_FIRESTORE_CALLS = ("BatchGetDocuments", "BatchWrite", "Commit", "BeginTransaction", "Rollback", "RunQuery")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that should be at most `limit`; `reached` is None if it was not measured."""

    name: str
    limit: float
    reached: float | None
    unit: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.reached is None:
            return "not measured"
        return "met" if self.reached <= self.limit else "missed"


def targets(results: Results) -> list[Target]:
    """All targets, in display order."""
    push, pull = (under_load(results, mode) for mode in (plan.PUSH, plan.PULL))
    return [
        Target("CPU per mail, both services, push", 3.0, _of(push, _both), "ms"),
        Target("CPU per mail, both services, pull", 1.6, _of(pull, _both), "ms"),
        Target("CPU per event, dispatcher", 0.5, _of(push, _per_event), "ms"),
        Target("CPU per mail, sender against naive sender", 0.25, _against_naive(results)),
        *_growth(results),
        Target("SMTP connections, 1,000 mails", results.setting.pool_size, _connections(results)),
        *_operations(results),
        Target("write → SMTP accept, p50, against empty handlers", 1.5, _against_floor(results)),
        Target("memory in the second half of 5,000 mails of 20 kB, against the first", 1.05, _memory(results)),
    ]


def under_load(results: Results, mode: plan.Mode) -> Row | None:
    """The largest burst of mails of ordinary size."""
    return max(ordinary_bursts(results, mode), key=lambda row: row.mails, default=None)


def ordinary_bursts(results: Results, mode: plan.Mode) -> list[Row]:
    """The bursts of mails of ordinary size."""
    names = {load.name for load in plan.LOADS.values() if load.shape is plan.Shape.BURST and load is not plan.LARGE_5K}
    return [row for row in results.rows if row.mode == mode.name and row.load in names]


def firestore_calls(operations: Operations) -> float:
    """Calls per mail, by both services."""
    counts = (operations.dispatcher, operations.sender)
    return sum(count.get(name, 0) for count in counts for name in _FIRESTORE_CALLS) / operations.mails


def per_mail(operations: Operations, name: str) -> float:
    """The proxy's count `name` per mail, by both services."""
    return (operations.dispatcher.get(name, 0) + operations.sender.get(name, 0)) / operations.mails


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _against_naive(results: Results) -> float | None:
    ours, naive = (results.row(mode.name, plan.QUEUED_3K.name) for mode in (plan.PUSH, plan.NAIVE))
    return _ratio(_of(ours, _sender), _of(naive, _sender))


def _growth(results: Results) -> Iterator[Target]:
    for mode in (plan.PUSH, plan.PULL):
        many, few = (results.row(mode.name, load.name) for load in (plan.BURST_10K, plan.BURST_1K))
        reached = _ratio(_of(many, _both), _of(few, _both))
        yield Target(f"CPU per mail of 10,000 against 1,000, {mode.name}", 1.1, reached)


def _connections(results: Results) -> float | None:
    return _of(results.row(plan.PUSH.name, plan.BURST_1K.name), _connections_of)


def _operations(results: Results) -> Iterator[Target]:
    by_mode = {each.mode: each for each in results.operations}
    for mode in (plan.PUSH.name, plan.PULL.name):
        counted = by_mode.get(mode)
        reads, writes, calls = (
            (per_mail(counted, READS), per_mail(counted, WRITES), firestore_calls(counted)) if counted else (None,) * 3
        )
        yield Target(f"Firestore documents read per mail, {mode}", 1 * _REDELIVERED, reads)
        yield Target(f"Firestore documents written per mail, {mode}", 3 * _REDELIVERED, writes)
        yield Target(f"Firestore calls per mail, {mode}", 0.2, calls)


def _against_floor(results: Results) -> float | None:
    ours, floor = (results.row(mode.name, plan.SINGLE.name) for mode in (plan.PUSH, plan.FLOOR))
    return _ratio(_of(ours, _median_to_accept), _of(floor, _median_to_accept))


def _memory(results: Results) -> float | None:
    return _of(results.row(plan.PUSH.name, plan.LARGE_5K.name), _late_memory)


def _of(row: Row | None, figure: Callable[[Row], float | None]) -> float | None:
    return figure(row) if row else None


def _both(row: Row) -> float | None:
    return row.both_ms


def _sender(row: Row) -> float:
    return row.sender_ms


def _connections_of(row: Row) -> int | None:
    return row.smtp.connections if row.smtp else None


def _per_event(row: Row) -> float | None:
    return row.dispatcher_ms / EVENTS_PER_MAIL if row.dispatcher_ms is not None else None


def _median_to_accept(row: Row) -> float | None:
    return row.to_accept.p50 if row.to_accept else None


def _late_memory(row: Row) -> float:
    costs = [cost for cost in (row.dispatcher, row.sender) if cost]
    return max(cost.memory.late_peak / cost.memory.early_peak for cost in costs)

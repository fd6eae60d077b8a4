"""What Trigger Email took for the same loads: measured once, so only the figures of this run are new. Pure.

Version 0.2.8, its compiled function behind an HTTP server that answers the emulator at once, on Google's emulators and
a machine with two cores, 2026-11-25. As deployed, an instance runs one invocation at a time, and each mail in flight
needs an instance. With 80 at a time in one process, the figures are better than any deployment's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import plan
from bench.figures import Row
from bench.results import Results


@dataclass(frozen=True, slots=True)
class Beside:
    """A figure of one load; None where it was not measured. `deployed` and `crowded` are Trigger Email's.

    `deployed` is one invocation per process, `crowded` at most 80.
    """

    load: str
    figure: str
    push: float | None
    pull: float | None
    deployed: float | None
    crowded: float | None

    @property
    def values(self) -> tuple[float | None, ...]:
        """All, in the order of the columns."""
        return self.push, self.pull, self.deployed, self.crowded


def beside(results: Results) -> list[Beside]:
    """All figures of which this run has ours."""
    return [each for each in _all(results) if each.push is not None or each.pull is not None]


def _all(results: Results) -> Iterator[Beside]:
    for load, push, pull, figure, read, deployed, crowded in _MEASURED:
        rows = [results.row(mode.name, load.name) if mode else None for mode in (push, pull)]
        ours = [read(row) if row else None for row in rows]
        yield Beside(_title(load, push), figure, ours[0], ours[1], deployed, crowded)


def _title(load: plan.Load, mode: plan.Mode) -> str:
    return f"{load.name}, SMTP {mode.smtp_delay_ms} ms" if mode.smtp_delay_ms else load.name


def _accepted(row: Row) -> float | None:
    return 1000 * row.to_accept.p50 if row.to_accept else None


def _accepted_late(row: Row) -> float | None:
    return 1000 * row.to_accept.p95 if row.to_accept else None


def _rate(row: Row) -> float:
    return row.rate


def _cpu(row: Row) -> float | None:
    return row.both_ms


def _memory(row: Row) -> float | None:
    return (row.dispatcher.memory.peak + row.sender.memory.peak) / 1e6 if row.dispatcher else None


def _connections(row: Row) -> float | None:
    return row.smtp.connections if row.smtp else None


_Figure = Callable[[Row], float | None]
_ACCEPTED, _ACCEPTED_LATE = "write → accept, p50, ms", "write → accept, p95, ms"
_RATE, _CPU = "mails/s", "CPU per mail, ms"

#: Load, our modes, the figure; then Trigger Email's: as deployed, and with 80 at a time.
_MEASURED: tuple[tuple[plan.Load, plan.Mode, plan.Mode | None, str, _Figure, float | None, float | None], ...] = (
    (plan.SINGLE, plan.PUSH, plan.PULL, _ACCEPTED, _accepted, 82.1, 82.1),
    (plan.SINGLE, plan.PUSH, plan.PULL, _ACCEPTED_LATE, _accepted_late, 103.2, 103.2),
    (plan.SINGLE, plan.PUSH, plan.PULL, _CPU, _cpu, 24.6, 24.6),
    (plan.BURST_1K, plan.PUSH, plan.PULL, _RATE, _rate, None, 51.0),
    (plan.BURST_1K, plan.PUSH, plan.PULL, _CPU, _cpu, None, 15.9),
    (plan.BURST_1K, plan.PUSH, plan.PULL, "SMTP connections", _connections, 1000, 1000),
    (plan.BURST_3K, plan.PUSH, plan.PULL, _RATE, _rate, None, 97.3),
    (plan.BURST_3K, plan.PUSH, plan.PULL, _CPU, _cpu, None, 11.3),
    (plan.BURST_3K, plan.PUSH, plan.PULL, "memory, MB", _memory, None, 250),
    (plan.BURST_1K, plan.PUSH_50_MS, None, _RATE, _rate, 2.4, 48.7),
    (plan.BURST_1K, plan.PUSH_50_MS, None, _CPU, _cpu, 43.7, 15.7),
    (plan.BURST_1K, plan.PUSH_300_MS, None, _RATE, _rate, None, 20.8),
    (plan.BURST_1K, plan.PUSH_300_MS, None, _CPU, _cpu, None, 13.1),
)

"""Plays loads on a running system, and measures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench import usage
from bench.documents import Written, mail
from bench.figures import Cost, Quantiles, Row
from bench.plan import Load, Mode, Shape
from bench.sink import Report
from bench.system import DISPATCHER, SENDER, System
from bench.usage import MemoryWatch, Usage
from local.errors import PartFailed
from local.waiting import wait_until

#: Seconds in which a single mail, and each further one, must have ended.
_PATIENCE, _PATIENCE_PER_MAIL = 60.0, 0.05
_POLL_SECONDS = 0.2
#: A service that uses no more than this of a CPU for so long has nothing left to do.
_IDLE_SECONDS, _IDLE_CPU = 0.5, 0.011

Show = Callable[[str], None]


class Player:
    """Plays loads on one system, one after the other."""

    def __init__(self, mode: Mode, system: System, show: Show) -> None:
        self._mode = mode
        self._system = system
        self._show = show
        self._numbers = itertools.count()

    def warm_up(self) -> None:
        """Let everything be connected, compiled and cached before it is measured."""
        self._play(Load("warm-up", Shape.BURST, 200))

    def measure(self, load: Load) -> Row:
        """Play the load. Raises `PartFailed` when it does not come to its end."""
        system = self._system
        groups = {name: system.group(name) for name in (DISPATCHER, SENDER)}
        before = {name: usage.of_group(group) for name, group in groups.items()}
        with ExitStack() as watching:
            watches = {name: watching.enter_context(MemoryWatch(group)) for name, group in groups.items()}
            written, report = self._play(load)
        after = {name: usage.of_group(group) for name, group in groups.items()}
        costs = {name: _cost(before[name], after[name], watches[name].samples) for name in groups}
        return row(self._mode.name, load, written, report, costs)

    def _play(self, load: Load) -> tuple[list[Written], Report]:
        label = f"{load.name}-{next(self._numbers)}"
        self._system.sink.reset()
        match load.shape:
            case Shape.SINGLE:
                for number in range(load.mails):
                    self._write(label, load, [number])
                    self._await_taken(number + 1, load, pause=0.002)
            case Shape.BURST:
                self._write(label, load, range(load.mails))
            case Shape.STEADY:
                raise NotImplementedError
        self._await_taken(load.mails, load, _POLL_SECONDS)
        self._await_concluded(label, load)
        self._await_idle()
        return self._system.documents.all_of(label), self._system.sink.report()

    def _write(self, label: str, load: Load, numbers: Sequence[int]) -> None:
        names = (f"{label}-{number}" for number in numbers)
        self._system.documents.write((name, mail(name, label, load.size)) for name in names)

    def _await_taken(self, mails: int, load: Load, pause: float) -> None:
        def taken() -> bool:
            self._system.check()
            count = self._system.sink.count()
            self._show(f"{self._mode.name}, {load.name}: {count} of {load.mails}")
            return count >= mails

        self._await(taken, f"{mails} mails", load, pause)

    def _await_concluded(self, label: str, load: Load) -> None:
        documents = self._system.documents
        self._await(lambda: documents.concluded(label) >= load.mails, "all results", load, _POLL_SECONDS)

    def _await_idle(self) -> None:
        """Return when the events of the last results have been dealt with, too."""

        def is_idle() -> bool:
            begin = self._cpu()
            time.sleep(_IDLE_SECONDS)
            return self._cpu() - begin <= _IDLE_CPU

        wait_until(is_idle, _PATIENCE, pause=0)

    def _cpu(self) -> float:
        return sum(usage.of_group(self._system.group(name)).cpu for name in (DISPATCHER, SENDER))

    def _await(self, condition: Callable[[], bool], what: str, load: Load, pause: float) -> None:
        if not wait_until(condition, _PATIENCE + load.mails * _PATIENCE_PER_MAIL, pause):
            raise PartFailed(f"{self._mode.name}, {load.name}: waited in vain for {what}.")


def _cost(before: Usage, after: Usage, samples: Sequence[int]) -> Cost:
    return Cost(after.cpu - before.cpu, before.resident, max(samples), after.resident)


def row(mode: str, load: Load, written: Sequence[Written], report: Report, costs: dict[str, Cost]) -> Row:
    """The measured times, put together."""
    created = {each.name: each.created.timestamp() for each in written}
    ends = {each.name: each.updated.timestamp() for each in written if each.state == "SUCCESS"}
    return Row(
        mode=mode,
        load=load.name,
        mails=len(written),
        succeeded=len(ends),
        seconds=max(ends.values()) - min(created.values()),
        to_accept=Quantiles.of(at - created[name] for name, at in report.taken),
        to_success=Quantiles.of(end - created[name] for name, end in ends.items()),
        dispatcher=costs[DISPATCHER],
        sender=costs[SENDER],
        connections=report.connections,
        round_trips=report.round_trips,
    )

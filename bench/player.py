"""Plays loads on a running system, and measures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from bench import usage
from bench.documents import Written, bulk_name, is_bulk, mail, queued
from bench.figures import Cost, Memory, Operations, Quantiles, Row, Smtp, Start
from bench.ledger import Report
from bench.plan import FIRST, Load, Shape
from bench.system import DISPATCHER, SENDER, System
from bench.usage import MemoryWatch
from local.errors import PartFailed
from local.waiting import wait_until
from shared.delivery.lanes import LANE
from shared.delivery.model import State

#: Seconds within which a single mail, and each further one, must have ended.
_PATIENCE, _PATIENCE_PER_MAIL = 60.0, 0.05
_POLL_SECONDS = 0.25
#: Seconds between checks for a single mail; the pause after it, for the events of its result; and what is added to it.
_SINGLE_POLL_SECONDS, _SINGLE_PAUSE_SECONDS, _SPREAD_SECONDS = 0.002, 0.05, 0.1
_GOLDEN_RATIO = (5**0.5 - 1) / 2
#: The lane of the mails beside which others are measured.
BULK = "bulk"
_STEADY_STEP_SECONDS = 0.02
#: Services are idle if they use no more than this fraction of a CPU (one clock tick) for this many seconds.
_IDLE_SECONDS, _IDLE_CPU = 0.5, 0.011

_T = TypeVar("_T")

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Played:
    """A load's observations. `begin` is when its messages were published; None if the documents say so."""

    written: Sequence[Written]
    report: Report | None
    begin: float | None


class Player:
    """Plays loads on one system, one after the other, and shows the progress."""

    def __init__(self, system: System, show: Show) -> None:
        self._mode = system.parts.mode.name
        self._system = system
        self._show = show
        self._numbers = itertools.count()

    def measure(self, load: Load) -> Row:
        """Play the load. Raises `PartFailed` if it does not finish."""
        groups = self._system.measured_groups()
        with ExitStack() as watching:
            watches = {name: watching.enter_context(MemoryWatch(some)) for name, some in groups.items()}
            before, machine_before = _cpu(groups), usage.of_machine()
            played = self._play(load)
            after, machine = _cpu(groups), usage.of_machine() - machine_before
        costs = {name: Cost(after[name] - before[name], Memory.of(watches[name].samples)) for name in groups}
        others = machine - sum(cost.cpu for cost in costs.values())
        return row(self._mode, load, played, costs[SENDER], costs.get(DISPATCHER), others)

    def warm_up(self, load: Load) -> None:
        """Play the load so that everything is connected, compiled and cached before measurements."""
        self._play(load)

    def starts(self, service: str, times: int) -> Start:
        """Start a service again and again; each time, write a document as soon as it answers `GET /health`."""
        to_health, to_accept, cpu = list[float](), list[float](), list[float]()
        for number in range(times):
            self._show(f"{self._mode}, {service}: start {number + 1} of {times}")
            begin = time.time()
            to_health.append(self._system.start_again(service))
            cpu.append(usage.of_groups(self._system.measured_groups()[service]).cpu)
            played = self._play(FIRST)
            to_accept += [at - begin for _, at in played.report.taken] if played.report else []
        return Start(self._mode, service, times, Quantiles.of(to_health), Quantiles.of(to_accept), Quantiles.of(cpu))

    def count(self, load: Load) -> Operations:
        """Play the load on a system that counts."""
        counts = self._system.counts
        for each in counts.values():
            each.taken()
        self._play(load)
        return Operations(self._mode, load.name, load.mails, counts[DISPATCHER].taken(), counts[SENDER].taken())

    def _play(self, load: Load) -> Played:
        label = f"{load.name}-{next(self._numbers)}".replace(" ", "-")
        if load.shape is not Shape.SINGLE:
            self._system.push_concurrently()
        if self._system.ledger:
            self._system.ledger.reset()
        begin = self._write(label, load)
        self._await_taken(load.mails, load, _POLL_SECONDS)
        documents = self._system.documents
        if self._system.parts.has_mail_server:
            self._await(lambda: documents.concluded(label) >= load.mails, "all results", load, _POLL_SECONDS)
        self._await_idle()
        report = self._system.ledger.report() if self._system.ledger else None
        return Played(documents.all_of(label), report, begin)

    def _write(self, label: str, load: Load) -> float | None:
        names = [f"{label}-{number}" for number in range(load.mails - load.bulk)]
        if load.bulk:
            self._begin_bulk(label, load)
        documents = ((name, mail(name, label, load.size)) for name in names)
        match load.shape:
            case Shape.SINGLE:
                for number, document in enumerate(documents):
                    self._system.documents.write([document])
                    self._await_taken(number + 1, load, _SINGLE_POLL_SECONDS)
                    time.sleep(single_pause(number))
            case Shape.BURST:
                self._system.documents.write(documents)
            case Shape.STEADY:
                for some in paced(list(documents), load.rate, time.monotonic, time.sleep):
                    self._system.documents.write(some)
            case Shape.QUEUED:
                self._system.documents.write((name, queued(fields)) for name, fields in documents)
                self._await_idle()
                begin = time.time()
                self._system.publish(names)
                return begin
        return None

    def _begin_bulk(self, label: str, load: Load) -> None:
        """Return when the sender is at it, and most wait for it: a tenth is more than it has in hand."""
        names = [bulk_name(label, number) for number in range(load.bulk)]
        documents = ((name, queued(mail(name, label, load.size)) | {LANE: BULK}) for name in names)
        self._system.documents.write(documents)
        self._await_taken(load.bulk // 10, load, _POLL_SECONDS)

    def _await_taken(self, mails: int, load: Load, pause: float) -> None:
        ledger = self._system.ledger
        if ledger is None:
            return

        def is_taken() -> bool:
            count = ledger.count()
            self._show(f"{self._mode}, {load.name}: {count:,} of {load.mails:,} mails")
            return count >= mails

        self._await(is_taken, f"the mail server to receive {mails} mails", load, pause)

    def _await_idle(self) -> None:
        """Return when the events of the last results have been processed, too."""
        groups = self._system.measured_groups()

        def is_idle() -> bool:
            before = sum(_cpu(groups).values())
            time.sleep(_IDLE_SECONDS)
            return sum(_cpu(groups).values()) - before <= _IDLE_CPU

        wait_until(is_idle, _PATIENCE, pause=0)

    def _await(self, condition: Callable[[], bool], what: str, load: Load, pause: float) -> None:
        def checked() -> bool:
            self._system.check()
            return condition()

        if not wait_until(checked, _PATIENCE + load.mails * _PATIENCE_PER_MAIL, pause):
            raise PartFailed(f"{self._mode}, {load.name}: timed out waiting for {what}.")


def single_pause(number: int) -> float:
    """Seconds to wait after the mail with this number.

    Google's Pub/Sub emulator looks for messages to push every 100 ms, to pull every 50 ms. After equal pauses, all
    mails would be written at the same point between two looks, and wait equally long. These pauses are spread evenly.
    """
    return _SINGLE_PAUSE_SECONDS + _SPREAD_SECONDS * (number * _GOLDEN_RATIO % 1)


def paced(
    items: Sequence[_T], rate: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[Sequence[_T]]:
    """The items, a few at a time, at `rate` items per second of `clock`."""
    begin, done = clock(), 0
    while done < len(items):
        due = min(len(items), int((clock() - begin) * rate) + 1)
        if due > done:
            yield items[done:due]
            done = due
        else:
            sleep(_STEADY_STEP_SECONDS)


def row(mode: str, load: Load, played: Played, sender: Cost, dispatcher: Cost | None, other_cpu: float) -> Row:
    """The row for one load."""
    created = {each.name: each.created.timestamp() for each in played.written}
    ends = {each.name: each.updated.timestamp() for each in played.written if each.state == State.SUCCESS}
    taken = {name: at for name, at in reversed(played.report.taken)} if played.report else {}
    begin = played.begin or min(created.values())
    timed = [] if load.shape is Shape.QUEUED else [name for name in created if not is_bulk(name)]
    return Row(
        mode=mode,
        load=load.name,
        mails=load.mails,
        succeeded=len(ends),
        duplicates=len(played.report.taken) - len(taken) if played.report else 0,
        seconds=max((ends or taken).values()) - begin,
        other_cpu=other_cpu,
        to_accept=_latencies(timed, created, taken),
        to_success=_latencies(timed, created, ends),
        dispatcher=dispatcher,
        sender=sender,
        smtp=Smtp(played.report.connections, played.report.round_trips) if played.report else None,
    )


def _latencies(names: Iterable[str], begins: Mapping[str, float], ends: Mapping[str, float]) -> Quantiles | None:
    seconds = [ends[name] - begins[name] for name in names if name in ends]
    return Quantiles.of(seconds) if seconds else None


def _cpu(groups: Mapping[str, Collection[int]]) -> dict[str, float]:
    return {name: usage.of_groups(some).cpu for name, some in groups.items()}

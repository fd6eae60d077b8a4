"""The measurements of one run, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import micro, postfix
from bench.figures import Operations, Reference, Row, Start
from bench.plan import BURST_1K, FLOOR, NAIVE, PUSH, QUEUED_3K, SINGLE, STEADY, Load, Mode, Shape, at_half
from bench.player import Player, Show
from bench.programs import Programs
from bench.system import DISPATCHER, SENDER, Parts, System
from local.errors import CannotStart, PartFailed
from local.processes import Family

#: The number of warm-up mails for single mails, which are slow.
_SINGLE_WARM_UP = 30
#: How often a service is started to see how long it takes.
_STARTS = 10
_ORDER = (Shape.SINGLE, Shape.BURST, Shape.STEADY)
#: smtp-source's load: this many mails, over this many connections at a time.
_SOURCE_MAILS, _SOURCE_SESSIONS = 10_000, 10
_IGNORE, _PUBLISH = ("bench.standin", "ignore"), ("bench.standin", "publish")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The selected measurements: loads on each mode (by default its own), with or without comparisons.

    `counted` is the load of the pass that counts calls; `warm_up` mails warm a system up.
    """

    backend: str
    modes: Sequence[Mode]
    loads: Sequence[Load] | None
    with_references: bool
    counted: Load = BURST_1K
    warm_up: int = 300


@dataclass(slots=True)
class Measured:
    """The measurements so far."""

    rows: list[Row] = field(default_factory=list)
    operations: list[Operations] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Suite:
    """One run. `show` gets the progress, `tell` gets each finished row."""

    def __init__(self, chosen: Chosen, show: Show, tell: Callable[[Row], None]) -> None:
        self._chosen = chosen
        self._show = show
        self._tell = tell
        self._measured = Measured()

    def run(self) -> Measured:
        """Measure everything possible; errors are recorded in `failures`, and the run continues."""
        chosen = self._chosen
        for mode in chosen.modes:
            self._try(mode.name, partial(self._end_to_end, mode))
        for mode in chosen.modes:
            if mode.is_plain:
                self._try(f"operations, {mode.name}", partial(self._count, mode))
        if chosen.with_references:
            self._try(FLOOR.name, self._floor)
            for mode in (PUSH, NAIVE):
                self._try(f"sender alone, {mode.name}", partial(self._sender_alone, mode))
            self._try("smtp-source", self._smtp_alone)
            self._measured.references += micro.measure()
        return self._measured

    def _try(self, what: str, measure: Callable[[], None]) -> None:
        self._show(f"{what}: starting …")
        try:
            measure()
        except Exception as error:  # whatever ends one measurement, the others continue
            kind = "" if isinstance(error, (CannotStart, PartFailed)) else f"{type(error).__name__}: "
            self._measured.failures.append(f"{what}: {kind}{error}")

    def _end_to_end(self, mode: Mode) -> None:
        # Single mails come first, pushed by the emulator itself; concurrent pushes start with the others.
        loads = sorted(self._chosen.loads or mode.loads, key=lambda load: _ORDER.index(load.shape))
        with self._playing(Parts(self._chosen.backend, mode)) as player:
            warm = set[Shape]()
            for load in loads:
                shape = Shape.BURST if load.shape is Shape.STEADY else load.shape
                if shape not in warm:
                    self._warm_up(player, shape)
                    warm.add(shape)
                self._add(player.measure(at_half(self._capacity(mode)) if load is STEADY else load))
            if self._chosen.with_references and mode.is_plain:
                self._starts(mode, player)

    def _warm_up(self, player: Player, shape: Shape) -> None:
        mails = min(_SINGLE_WARM_UP, self._chosen.warm_up) if shape is Shape.SINGLE else self._chosen.warm_up
        player.warm_up(Load("warm-up", shape, mails))

    def _capacity(self, mode: Mode) -> float:
        """Mails per second of the best burst so far."""
        return max(row.rate for row in self._measured.rows if row.mode == mode.name)

    def _count(self, mode: Mode) -> None:
        with self._playing(Parts(self._chosen.backend, mode, counted=True)) as player:
            self._warm_up(player, Shape.BURST)
            self._measured.operations.append(player.count(self._chosen.counted))

    def _starts(self, mode: Mode, player: Player) -> None:
        """The dispatcher is the same in all modes, so its starts are measured in one."""
        for service in (SENDER,) if mode.pulls else (DISPATCHER, SENDER):
            self._measured.starts.append(player.starts(service, _STARTS))

    def _floor(self) -> None:
        with self._playing(Parts(self._chosen.backend, FLOOR, _PUBLISH, has_mail_server=False)) as player:
            self._warm_up(player, Shape.SINGLE)
            self._add(player.measure(SINGLE))

    def _sender_alone(self, mode: Mode) -> None:
        """Uses Postfix's smtp-sink if installed, so that the mail server is not the bottleneck."""
        parts = Parts(self._chosen.backend, mode, _IGNORE, smtp_sink=postfix.find("smtp-sink"))
        with self._playing(parts) as player:
            self._warm_up(player, Shape.QUEUED)
            self._add(player.measure(QUEUED_3K))

    def _smtp_alone(self) -> None:
        self._measured.references += smtp_alone()

    def _add(self, row: Row) -> None:
        self._measured.rows.append(row)
        self._tell(row)

    @contextmanager
    def _playing(self, parts: Parts) -> Iterator[Player]:
        with System(parts) as system:
            yield Player(system, self._show)


def smtp_alone() -> list[Reference]:
    """The rates of Postfix's own client with the same mail servers; empty if it is not installed."""
    source, smtp_sink = postfix.find("smtp-source"), postfix.find("smtp-sink")
    if source is None or smtp_sink is None:
        return []
    family, failures = Family(), list[str]()
    try:
        with tempfile.TemporaryDirectory(prefix="firepost-bench-") as logs:
            programs = Programs(family, Path(logs), failures.append)
            ports = {"smtp-sink": programs.start_smtp_sink(smtp_sink), "bench/sink.py": programs.start_sink()[0]}
            return [
                Reference(
                    f"smtp-source → {server}, {'connections kept open' if kept_open else 'a connection each'}",
                    postfix.rate(source, port, _SOURCE_MAILS, _SOURCE_SESSIONS, SINGLE.size, kept_open=kept_open),
                    "mails/s",
                )
                for server, port in ports.items()
                for kept_open in (False, True)
            ]
    finally:
        family.stop()

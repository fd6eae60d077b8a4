"""The resource usage of process groups, from /proc: https://man7.org/linux/man-pages/man5/proc.5.html."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Fields of /proc/PID/stat, counted from the one after the name, which is in brackets and may contain anything.
_GROUP, _UTIME, _CSTIME, _RSS = 2, 11, 14, 21


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds (user and system, of all threads and ended children) since the start, and resident bytes now."""

    cpu: float = 0.0
    resident: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.resident + other.resident)


def parse_stat(text: str) -> tuple[int, Usage]:
    """The process group and the usage in a /proc/PID/stat."""
    values = text.rpartition(")")[2].split()
    ticks = sum(map(int, values[_UTIME : _CSTIME + 1]))
    return int(values[_GROUP]), Usage(ticks / _TICK, int(values[_RSS]) * _PAGE)


def parse_machine(text: str) -> float:
    """The CPU seconds since the start in /proc/stat: everything except idle and I/O wait."""
    user, nice, system, _, _, *interrupts = map(int, text.partition("\n")[0].split()[1:8])
    return (user + nice + system + sum(interrupts[:2])) / _TICK


def of_machine() -> float:
    """CPU seconds used by this machine."""
    return parse_machine(Path("/proc/stat").read_text())


def of_groups(groups: Collection[int]) -> Usage:
    """The sum over all processes of the groups: the server's workers and their parent, for example."""
    return sum((usage for owner, usage in _processes() if owner in groups), Usage())


def _processes() -> Iterator[tuple[int, Usage]]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                yield parse_stat((directory / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile


@dataclass(slots=True)
class MemoryWatch:
    """Samples the groups' resident memory during the block; `samples` are bytes."""

    groups: Collection[int]
    every: float = 0.5
    samples: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.samples.append(of_groups(self.groups).resident)

    def _watch(self) -> None:
        while True:
            self.samples.append(of_groups(self.groups).resident)
            if self._ended.wait(self.every):
                return

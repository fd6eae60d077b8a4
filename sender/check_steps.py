"""The steps of a check, each with its time, and a sign of life while one takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

#: Every so many seconds, a step that is not over is reported.
PATIENCE = 3.0


class Status(StrEnum):
    """How a step goes; `skipped` ones are not needed, or can't be had and are not insisted upon."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step, in one line, and how many seconds it has taken; None if it took no time."""

    step: str
    status: Status
    detail: str
    seconds: float | None = None


Report = Callable[[Finding], None]


class Stopwatch:
    """Times one step after the other, and reports each; usable as a context, which ends with the last step.

    While a step takes long, it is reported again and again what is waited for.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._patience = PATIENCE
        self._lock = threading.Lock()
        self._step, self._what, self._began = "", "", time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._give_signs, name="stopwatch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, step: str, what: str) -> None:
        """A step begins; `what` ends the sentence that begins with "waiting for"."""
        with self._lock:
            self._step, self._what, self._began = step, what, time.monotonic()

    def end(self, status: Status, detail: str) -> None:
        """The step that was begun last is over."""
        with self._lock:
            step, self._step = self._step, ""
            self._report(Finding(step, status, detail, self._seconds()))

    def _give_signs(self) -> None:
        while not self._over.wait(self._patience):
            with self._lock:
                if self._step and self._seconds() >= self._patience / 2:
                    self._report(Finding(self._step, Status.WAITING, f"for {self._what}", self._seconds()))

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)

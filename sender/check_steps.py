"""Times and reports the steps of a check, including those that take long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

#: The interval, in seconds, at which a running step is reported.
PATIENCE = 3.0


class Status(StrEnum):
    """The state of a step; `skipped`: not needed, or optional and not available."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Finding:
    """A step's status with one line of detail, and its duration in seconds (None if it was not timed)."""

    step: str
    status: Status
    detail: str
    seconds: float | None = None


Report = Callable[[Finding], None]


class Stopwatch:
    """Times steps one after another and reports each. A context manager that ends after the last step.

    While a step takes long, it repeatedly reports what the step is waiting for.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._interval = PATIENCE
        self._lock = threading.Lock()
        self._step, self._awaited, self._started = "", "", time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report_waiting, name="stopwatch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, step: str, awaited: str) -> None:
        """Start a step; `awaited` completes the sentence "waiting for …"."""
        with self._lock:
            self._step, self._awaited, self._started = step, awaited, time.monotonic()

    def end(self, status: Status, detail: str) -> None:
        """End the current step and report it."""
        with self._lock:
            step, self._step = self._step, ""
            self._report(Finding(step, status, detail, self._seconds()))

    def _report_waiting(self) -> None:
        while not self._over.wait(self._interval):
            with self._lock:
                if self._step and self._seconds() >= self._interval / 2:
                    self._report(Finding(self._step, Status.WAITING, f"for {self._awaited}", self._seconds()))

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 3)

"""The memory budget of a process: a semaphore counted in bytes, from which each mail reserves what it can need.

A mail that needs little always gets its memory, from a share that the budget leaves out: it never waits for large ones.
Others wait in the order of their arrival, a few seconds at most, and are then put off. While a mail waits, it holds
nothing, so two mails never wait for each other.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from shared.deadline import Deadline
from shared.errors import Deferred, ShuttingDown

#: A mail that needs at most this many bytes is not counted.
SMALL_BYTES = 1024 * 1024


class Room(Protocol):
    """The memory of one mail."""

    @property
    def most(self) -> int:
        """The most bytes that a mail can have; a larger one never fits."""
        ...

    def take(self, size: int) -> None:
        """Reserve this many bytes in all, more or less than before. Raises `Deferred` if they are not free in time."""
        ...


class Unlimited:
    """The `Room` without a limit."""

    most = 2**63

    def take(self, size: int) -> None:
        """Do nothing."""


class MemoryBudget:
    """The bytes for all mails of this process. Thread-safe."""

    def __init__(self, size: int, *, waiting: int, wait_seconds: float) -> None:
        """At most `waiting` mails wait at a time, for `wait_seconds`: a waiting mail occupies the place of another."""
        self.size = size
        self._free = size
        self._most_waiting = waiting
        self._wait_seconds = wait_seconds
        self._waiting: deque[object] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def reservation(self, deadline: Deadline) -> Reservation:
        """A context manager that holds the memory of one mail, none at first, and gives it back at its end."""
        return Reservation(self, deadline)

    def close(self) -> None:
        """Let nobody wait any longer. Called on SIGTERM."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # For reservations

    def acquire(self, size: int, deadline: Deadline) -> None:
        """Take bytes out of the budget; raises `Deferred` if they are not free in time."""
        with self._changed:
            if self._waiting or self._free < size:
                self._wait(size, min(self._wait_seconds, deadline.remaining()))
            self._free -= size

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._free += size
            self._changed.notify_all()

    def _wait(self, size: int, seconds: float) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise self._no_room()
        place = object()
        self._waiting.append(place)
        try:
            is_free = self._changed.wait_for(lambda: self._closed or self._is_turn(place, size), seconds)
        finally:
            self._waiting.remove(place)
            self._changed.notify_all()  # the next one may fit
        if self._closed:
            raise ShuttingDown()
        if not is_free:
            raise self._no_room()

    def _is_turn(self, place: object, size: int) -> bool:
        return self._waiting[0] is place and self._free >= size

    def _no_room(self) -> Deferred:
        return Deferred(self._wait_seconds, "Too little memory is free beside the other mails.")


class Reservation:
    """The part of the budget that one mail holds: a `Room`. Used by one thread at a time."""

    def __init__(self, budget: MemoryBudget, deadline: Deadline) -> None:
        self._budget = budget
        self._deadline = deadline
        self._held = 0

    @property
    def most(self) -> int:
        """See `Room.most`."""
        return self._budget.size

    def take(self, size: int) -> None:
        """See `Room.take`. A mail that needs more than there is reserves everything."""
        size = 0 if size <= SMALL_BYTES else min(size, self._budget.size)
        held, self._held = self._held, 0
        if size <= held:
            self._budget.release(held - size)
        else:
            self._budget.release(held)
            self._budget.acquire(size, self._deadline)
        self._held = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.take(0)

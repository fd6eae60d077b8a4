"""Undelivered items, at-least-once: leases, deadlines, back-off, attempts, order. Time is an argument.

This is the core of every Pub/Sub subscription and of event delivery, which uses Pub/Sub in Google's cloud, too.
https://cloud.google.com/pubsub/docs/subscription-properties
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from local.backends.embedded.faults import NO_FAULTS, Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds until the next attempt: `minimum` after the first, doubled after each further one, up to `maximum`."""

    minimum: float
    maximum: float

    def after(self, attempts: int) -> float:
        """The pause after this many failed attempts (1 or more)."""
        return min(self.maximum, self.minimum * 2.0 ** min(attempts - 1, 60))


NO_BACKOFF = Backoff(0.0, 0.0)


@dataclass(slots=True)
class Item(Generic[T]):
    """An item to deliver; `attempts` counts started deliveries. Items with the same `key` keep their order."""

    payload: T
    key: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Lease(Generic[T]):
    """One delivery in progress; nobody else gets the item until its deadline."""

    number: int
    item: Item[T]
    attempt: int


@dataclass(slots=True)
class Backlog(Generic[T]):
    """Items that have not been acknowledged yet.

    With `max_attempts`, an item that has failed that often is offered to `on_dead`, and not retried if that returns
    True.
    """

    backoff: Backoff = NO_BACKOFF
    max_attempts: int | None = None
    on_dead: Callable[[Item[T]], bool] = lambda _: False
    _ready: deque[Item[T]] = field(default_factory=deque)
    _later: list[tuple[float, int, Item[T]]] = field(default_factory=list)
    _leases: dict[int, tuple[Lease[T], float]] = field(default_factory=dict)
    _deadlines: list[tuple[float, int]] = field(default_factory=list)
    _behind: dict[str, deque[Item[T]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, payload: T, now: float, key: str = "", plan: Plan = NO_FAULTS) -> None:
        """Add an item. An item with a key waits until the one before it is acknowledged."""
        if not key:
            for _ in range(plan.copies):
                self._add_planned(Item(payload), now, plan)
        elif key in self._behind:
            self._behind[key].append(Item(payload, key))
        else:
            self._behind[key] = deque()
            self._ready.append(Item(payload, key))

    def take(self, limit: int, now: float, seconds: float) -> list[Lease[T]]:
        """Lease up to `limit` items for `seconds`, the longest-waiting first."""
        self.advance(now)
        leases: list[Lease[T]] = []
        while self._ready and len(leases) < limit:
            item = self._ready.popleft()
            item.attempts += 1
            lease = Lease(next(self._numbers), item, item.attempts)
            self._leases[lease.number] = (lease, now + seconds)
            heapq.heappush(self._deadlines, (now + seconds, lease.number))
            leases.append(lease)
        return leases

    def acknowledge(self, number: int) -> None:
        """Remove a leased item; has no effect once the lease has ended."""
        if entry := self._leases.pop(number, None):
            self._release_key(entry[0].item)

    def reject(self, number: int, now: float) -> None:
        """End a lease: the item is retried after the back-off."""
        if entry := self._leases.pop(number, None):
            self._retry(entry[0].item, now)

    def extend(self, number: int, now: float, seconds: float) -> None:
        """Make a lease end `seconds` from now."""
        if entry := self._leases.get(number):
            self._leases[number] = (entry[0], now + seconds)
            heapq.heappush(self._deadlines, (now + seconds, number))

    def holds(self, number: int) -> bool:
        """Whether this lease is still live."""
        return number in self._leases

    def advance(self, now: float) -> None:
        """Do everything due by `now`: end expired leases, make delayed items ready."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            entry = self._leases.get(number)
            if entry is not None and entry[1] <= now:
                self.reject(number, now)
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])

    def next_due(self) -> float | None:
        """When `advance` has something to do again; None if only `add` can change anything."""
        heads = [heap[0][0] for heap in (self._deadlines, self._later) if heap]
        return min(heads, default=None)

    def __len__(self) -> int:
        waiting = sum(len(items) for items in self._behind.values())
        return len(self._ready) + len(self._later) + len(self._leases) + waiting

    def _add_planned(self, item: Item[T], now: float, plan: Plan) -> None:
        if plan.lost:
            item.attempts += 1
            self._retry(item, now + plan.wait)
        elif plan.wait:
            self._postpone(item, now + plan.wait)
        else:
            self._ready.append(item)

    def _retry(self, item: Item[T], now: float) -> None:
        is_exhausted = self.max_attempts is not None and item.attempts >= self.max_attempts
        if is_exhausted and self.on_dead(item):
            self._release_key(item)
        elif pause := self.backoff.after(item.attempts):
            self._postpone(item, now + pause)
        else:
            self._ready.append(item)

    def _postpone(self, item: Item[T], until: float) -> None:
        heapq.heappush(self._later, (until, next(self._numbers), item))

    def _release_key(self, item: Item[T]) -> None:
        if not item.key:
            return
        behind = self._behind[item.key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[item.key]

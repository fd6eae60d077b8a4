"""Fault injection: what occasionally goes wrong in a cloud goes wrong here exactly when a test needs it.

    faults.on("Commit").nth(2).lose_response()                 # applied, but the client gets UNAVAILABLE
    faults.on("BatchWrite").randomly(0.1, seed=7).fail(grpc.StatusCode.ABORTED)
    faults.on("*").delay(0.2)                                  # every call of every RPC is slow
    faults.events.duplicate(0.3, seed=7)                       # CloudEvents; `pushes` are Pub/Sub's
    faults.counts["Commit: response lost"]                     # how often it has happened

Decisions depend only on the seed and the order of calls or deliveries.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from local.backends.embedded.failure import Failure

#: How long a reordered delivery is held back, so that later ones overtake it.
REORDER_SECONDS = 0.1


class Faults:
    """The injected faults, and how often each has occurred. All methods are thread-safe."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.events = DeliveryFaults("event", self.counts)
        self.pushes = DeliveryFaults("push", self.counts)
        self._rules: list[_CallRule] = []
        self._lock = threading.Lock()

    def on(self, rpc: str) -> CallFault:
        """Begin a fault in calls of `rpc`, such as `Commit` or `Publish`; `*` means all."""
        return CallFault(rpc, self._rules.append)

    def clear(self) -> None:
        """Remove all faults; the counts remain."""
        self._rules.clear()
        self.events.clear()
        self.pushes.clear()

    @contextmanager
    def around(self, rpc: str) -> Iterator[None]:
        """Wraps each call of the servers. Raises the `Failure` that a fault prescribes."""
        due = self._due(rpc) if self._rules else []
        for rule in due:
            rule.before()
        yield
        for rule in due:
            rule.after()

    def _due(self, rpc: str) -> list[_CallRule]:
        with self._lock:
            due = [rule for rule in self._rules if rule.rpc in ("*", rpc) and rule.selects()]
            self.counts.update(f"{rpc}: {rule.label}" for rule in due)
        return due


@dataclass(frozen=True, slots=True)
class _CallRule:
    rpc: str
    label: str
    selects: Callable[[], bool]  # called once per call
    before: Callable[[], None]
    after: Callable[[], None]


def _always() -> bool:
    return True


def _nothing() -> None:
    """The inactive half of a fault."""


class CallFault:
    """Builds a fault: first (optionally) which calls it affects, then what happens to them."""

    def __init__(self, rpc: str, add: Callable[[_CallRule], None]) -> None:
        self._rpc = rpc
        self._add = add
        self._selects: Callable[[], bool] = _always

    def nth(self, *numbers: int) -> CallFault:
        """Only these calls, counted from 1, starting now."""
        calls = iter(range(1, max(numbers) + 1))
        self._selects = lambda: next(calls, 0) in numbers
        return self

    def randomly(self, share: float, seed: int) -> CallFault:
        """Only this share of the calls (0 to 1), chosen by `seed`."""
        chance = random.Random(seed)  # noqa: S311 - it shall be predictable
        self._selects = lambda: chance.random() < share
        return self

    def fail(self, code: grpc.StatusCode) -> None:
        """The call has no effect and is answered with `code`."""

        def refuse() -> None:
            raise Failure(code, f"Fault on demand: {code.name}.")

        self._finish(code.name, before=refuse)

    def lose_response(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """The call is executed, but the client gets `code`."""

        def lose() -> None:
            raise Failure(code, "Fault on demand: the response was lost.")

        self._finish("response lost", after=lose)

    def delay(self, seconds: float) -> None:
        """The call begins that many seconds later."""
        self._finish("delayed", before=lambda: time.sleep(seconds))

    def _finish(self, label: str, before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing) -> None:
        self._add(_CallRule(self._rpc, label, self._selects, before, after))


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a delivery: how many copies, how many seconds of delay, and whether its first attempt is lost."""

    copies: int = 1
    wait: float = 0.0
    lost: bool = False


NO_FAULTS = Plan()


@dataclass(frozen=True, slots=True)
class _DeliveryRule:
    label: str
    plan: Plan
    share: float
    chance: random.Random


class DeliveryFaults:
    """Faults in deliveries over HTTP: each method adds one that affects a share (0 to 1) of all new deliveries."""

    def __init__(self, what: str, counts: Counter[str]) -> None:
        self._what = what
        self._counts = counts
        self._rules: list[_DeliveryRule] = []

    def duplicate(self, share: float = 1.0, seed: int = 0) -> None:
        """Deliver it twice, with the same id."""
        self._add("duplicated", Plan(copies=2), share, seed)

    def delay(self, seconds: float, share: float = 1.0, seed: int = 0) -> None:
        """Deliver it that many seconds later."""
        self._add("delayed", Plan(wait=seconds), share, seed)

    def reorder(self, share: float = 1.0, seed: int = 0) -> None:
        """Hold it back until the following ones have overtaken it."""
        self._add("reordered", Plan(wait=REORDER_SECONDS), share, seed)

    def drop(self, share: float = 1.0, seed: int = 0) -> None:
        """Lose its first attempt; it is retried as after any failure."""
        self._add("dropped", Plan(lost=True), share, seed)

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()

    def plan(self) -> Plan:
        """Decide about the next delivery; the caller holds the lock that orders deliveries."""
        if not self._rules:
            return NO_FAULTS
        hit = [rule for rule in self._rules if rule.chance.random() < rule.share]
        self._counts.update(f"{self._what}: {rule.label}" for rule in hit)
        return Plan(
            copies=max((rule.plan.copies for rule in hit), default=1),
            wait=sum(rule.plan.wait for rule in hit),
            lost=any(rule.plan.lost for rule in hit),
        )

    def _add(self, label: str, plan: Plan, share: float, seed: int) -> None:
        self._rules.append(_DeliveryRule(label, plan, share, random.Random(seed)))  # noqa: S311 - as above

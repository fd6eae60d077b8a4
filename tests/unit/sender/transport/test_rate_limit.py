"""The rate limit of an installation: shares, and a simulation of several processes that counts every second."""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sender.transport.rate_limit import (
    LEASE,
    LONGEST_TURN,
    PAUSE,
    PERIOD,
    USED,
    RateLimit,
    Share,
    Sighting,
    allot,
    read_shares,
    sighted,
    written_shares,
)
from shared.errors import Unavailable

LIMIT = 20


def shares(**entries: tuple[int, int, int, int]) -> dict[str, Share]:
    return {process: Share(*entry) for process, entry in entries.items()}


@pytest.mark.parametrize(
    ("others", "wanted", "seconds", "mails"),
    [
        pytest.param({}, 20, 0, 20, id="alone"),
        pytest.param({}, 3, 0, 3, id="no more than wanted"),
        pytest.param({"b": (1, 20, 20, 20)}, 20, 0, 0, id="nothing is left"),
        pytest.param({"b": (2, 10, 20, 20)}, 20, 0, 0, id="what another gives up may still be in use"),
        pytest.param({"b": (2, 10, 20, 20)}, 20, PAUSE, 10, id="what another gave up a while ago"),
        pytest.param({"b": (1, 2, 2, 2)}, 20, 0, 18, id="what others do not want"),
        pytest.param({"b": (1, 7, 7, 20), "c": (1, 6, 6, 20)}, 20, 0, 6, id="a fair part"),
        pytest.param({"b": (1, 15, 15, 20)}, 20, LEASE + PAUSE, 20, id="another that has vanished"),
        pytest.param({"b": (1, 15, 15, 20)}, 20, LEASE, 5, id="another that may still send"),
        pytest.param({"b": (1, 40, 40, 40)}, 20, 0, 0, id="another that takes too much"),
    ],
)
def test_a_process_gets(others: dict[str, tuple[int, int, int, int]], wanted: int, seconds: float, mails: int) -> None:
    known = shares(**others)
    after = allot(known, "a", wanted, LIMIT, sighted(known, {}, 100.0), 100.0 + seconds)
    assert after["a"] == Share(1, mails, 0, wanted)


def test_who_has_too_much_gives_up_what_others_want() -> None:
    known = shares(a=(4, 20, 20, 20), b=(1, 0, 0, 20))
    assert allot(known, "a", 20, LIMIT, sighted(known, {}, 0.0), 0.0)["a"] == Share(5, 10, 20, 20)


def test_a_renewal_is_seen_for_the_first_time_once() -> None:
    first = sighted(shares(b=(1, 5, 5, 5)), {}, 10.0)
    assert sighted(shares(b=(1, 5, 5, 5)), first, 20.0) == {"b": Sighting(1, 10.0)}
    assert sighted(shares(b=(2, 5, 5, 5)), first, 20.0) == {"b": Sighting(2, 20.0)}


def test_entries_are_read_as_they_were_written() -> None:
    known = shares(a=(1, 2, 3, 4), b=(5, 6, 7, 8))
    assert read_shares(written_shares(known)) == known


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"shares": [1]},
        {"shares": {"a": None}},
        {"shares": {"a": {"renewal": 1, "mails": 1, "before": 1}}},
        {"shares": {"a": {"renewal": 1, "mails": -1, "before": 1, "wanted": 1}}},
        {"shares": {"a": {"renewal": 1, "mails": 1.5, "before": 1, "wanted": 1}}},
    ],
)
def test_what_is_no_entry_counts_for_nothing(fields: dict[str, Any]) -> None:
    assert read_shares(fields) == {}


class World:
    """Processes with clocks of their own, a document, and a mail server that counts.

    With `faults`, transactions fail, and may take seconds, in which nobody else gets on either.
    """

    def __init__(self, seed: int, limit: float = LIMIT, *, faults: bool = False) -> None:
        self.random, self.limit, self.faults, self.now = random.Random(seed), limit, faults, 0.0
        self.fields: Mapping[str, Any] = {}
        self.transactions: dict[str, list[float]] = {}
        self.sent: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            time, _, do = heapq.heappop(self._events)
            self.now = max(self.now, time)
            do()

    def process(self, name: str, pause: Callable[[], float], begin: float = 0.0, end: float = 1e9) -> RateLimit:
        """A process that has a mail after each `pause` (at once, if that is 0) from `begin` on, and dies at `end`."""
        skew = self.random.uniform(-1000, 1000)  # the clocks of machines have nothing in common
        transactions = self.transactions.setdefault(name, [])

        def exchange(decide: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
            transactions.append(self.now)
            fate = self.random.random() if self.faults else 1.0
            self.now += self._latency()
            if fate < 0.05:
                raise Unavailable("nothing happened")
            self.fields = decide(self.fields)
            self.now += self._latency()
            if fate < 0.1:
                raise Unavailable("the answer was lost")

        rate = RateLimit(exchange, name, self.limit, clock=lambda: self.now + skew)

        def send() -> None:
            seconds = rate.pace(self.now + skew)
            if seconds <= LONGEST_TURN:
                self.sent.append(self.now + seconds)

        def have_a_mail() -> None:
            if self.now >= end:
                return
            seconds = rate.wait(self.now + skew, 2.0)
            if seconds <= 2.0:
                self.at(self.now + seconds + self._connecting(), send)
            self.at(self.now + max(pause(), min(seconds, 1.0)), have_a_mail)

        self.at(begin, have_a_mail)
        return rate

    def _connecting(self) -> float:
        """The time until a mail has a connection: most are kept open."""
        return self.random.uniform(0, 1.5) if self.random.random() < 0.1 else 0.0

    def _latency(self) -> float:
        """That of half a transaction, in seconds."""
        return self.random.uniform(0, 3) if self.faults and self.random.random() < 0.05 else 0.0

    def most_in_a_second(self) -> int:
        self.sent.sort()
        return max(bisect_left(self.sent, time + 1.0) - number for number, time in enumerate(self.sent))

    def per_second(self, begin: float, end: float) -> float:
        return sum(begin <= time < end for time in self.sent) / (end - begin)


def busy() -> float:
    return 0.0


@pytest.mark.parametrize("seed", range(10))
def test_five_processes_that_come_crash_and_idle_never_exceed_the_limit(seed: int) -> None:
    world = World(seed, faults=True)
    for number in range(5):
        begin = world.random.uniform(0, 30)
        end = begin + world.random.uniform(5, 100)
        world.process(f"p{number}", busy, begin, end)
        world.process(f"next{number}", lambda: world.random.expovariate(0.5), end, end + 60)
    world.run(200)
    assert world.most_in_a_second() <= LIMIT


@pytest.mark.parametrize("processes", [1, 2, 5, 20])
def test_busy_processes_use_at_least_nine_tenths_of_the_limit(processes: int) -> None:
    world = World(seed=1)
    for number in range(processes):
        world.process(f"p{number}", busy)
    world.run(120)
    assert world.most_in_a_second() <= LIMIT
    assert world.per_second(30, 120) >= 0.9 * LIMIT


def test_a_busy_process_uses_what_an_idle_one_leaves() -> None:
    world = World(seed=2)
    world.process("idle", lambda: 4.0)
    world.process("busy", busy)
    world.run(120)
    assert world.per_second(30, 120) >= 0.9 * (LIMIT - 2)


def test_a_process_that_stops_leaves_its_share_to_the_next_one_at_once() -> None:
    world = World(seed=3)
    first = world.process("first", busy, end=30)
    world.at(30, first.close)
    world.process("second", busy, begin=30)
    world.run(60)
    assert world.most_in_a_second() <= LIMIT
    assert world.per_second(30 + PAUSE + PERIOD, 60) >= 0.9 * LIMIT


def test_a_process_costs_at_most_one_transaction_in_five_seconds_and_none_while_it_is_idle() -> None:
    world = World(seed=4)
    world.process("a", busy, end=60)
    world.process("b", busy)
    world.run(300)
    for times in world.transactions.values():
        assert all(later - earlier >= PERIOD - 1e-6 for earlier, later in itertools.pairwise(times))
    assert max(world.transactions["a"]) < 60


def test_less_than_one_mail_a_second() -> None:
    world = World(seed=5, limit=0.5)
    for number in range(3):
        world.process(f"p{number}", busy)
    world.run(300)
    assert world.most_in_a_second() == 1
    assert 0.9 * 0.5 <= world.per_second(60, 300) <= 0.5


class One:
    """One process, whose document and clock a test controls."""

    def __init__(self) -> None:
        self.now, self.fields = 0.0, dict[str, Any]()
        self.before_the_answer: Callable[[], None] = lambda: None
        self.rate = RateLimit(self._exchange, "a", LIMIT, clock=lambda: self.now)

    def _exchange(self, decide: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self.fields = dict(decide(self.fields))
        self.before_the_answer()

    def per_second(self) -> float:
        """Mails per second, from the interval between two turns."""
        first, second = (self.rate.wait(self.now, 2.0) for _ in range(2))
        return 0.0 if first > 2.0 else 1 / (second - first)


def test_a_smaller_share_counts_even_if_only_its_answer_is_lost() -> None:
    def lose() -> None:
        raise Unavailable("the answer was lost")

    one = One()
    assert one.per_second() == pytest.approx(USED * LIMIT)
    one.fields = written_shares(read_shares(one.fields) | shares(b=(1, 0, 0, LIMIT)))
    one.now, one.before_the_answer = PERIOD + 1.0, lose
    assert one.per_second() == pytest.approx(USED * LIMIT / 2)


def test_nothing_is_sent_while_the_answer_is_overdue() -> None:
    one, found = One(), list[float]()

    def answer_late() -> None:
        one.now += 1.9
        found.append(one.per_second())
        one.now += 0.2
        found.append(one.per_second())

    one.per_second()
    one.now, one.before_the_answer = PERIOD + 1.0, answer_late
    assert one.per_second() == pytest.approx(USED * LIMIT)
    assert found == [pytest.approx(USED * LIMIT), 0.0]

"""The rate limit of an installation: a simulation of several processes, in which each second is counted."""

from __future__ import annotations

import heapq
import itertools
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sender.transport.rate.limit import RateLimit
from sender.transport.rate.portion import HORIZON, USED
from sender.transport.rate.shares import LONGEST_TURN, PAUSE, PERIOD, Share, read_ledger, written_ledger
from shared.errors import Unavailable

LIMIT = 20


class World:
    """Processes with clocks of their own, a document, and a mail server that counts.

    With `faults`, transactions fail, and may take seconds, in which nobody else gets on either.
    """

    def __init__(
        self, seed: int, limit: float = LIMIT, *, faults: bool = False, tenant_limit: float | None = None
    ) -> None:
        self.random, self.limit, self.faults, self.now = random.Random(seed), limit, faults, 0.0
        self.tenant_limit = tenant_limit
        self.fields: Mapping[str, Any] = {}
        self.transactions: dict[str, list[float]] = {}
        self.sent: list[tuple[float, str]] = []
        self.put_off = 0
        self._processes: dict[str, tuple[RateLimit, float]] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), do))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            time, _, do = heapq.heappop(self._events)
            self.now = max(self.now, time)
            do()

    def process(
        self, name: str, pause: Callable[[], float], begin: float = 0.0, end: float = 1e9, tenant: str = "one"
    ) -> RateLimit:
        """A process that has a mail after each `pause` (at once, if that is 0) from `begin` on, and dies at `end`."""
        rate, skew = self._process(name)

        def have_a_mail() -> None:
            if self.now >= end:
                return
            turn = rate.turn(self.now + skew, 2.0, tenant)
            if turn.granted:
                self.at(self.now + turn.seconds + self._connecting(), lambda: self._send(rate, skew, tenant))
            self.at(self.now + max(pause(), min(turn.seconds, 1.0)), have_a_mail)

        self.at(begin, have_a_mail)
        return rate

    def backlog(self, mails: int, tenant: str, processes: int = 1, begin: float = 0.0) -> None:
        """So many mails, which come as fast as processes can look at them; what is put off comes back in its time."""
        names = itertools.cycle(f"p{number}" for number in range(processes))

        def come() -> None:
            rate, skew = self._process(next(names))
            rate.capacity(waiting=50)
            turn = rate.turn(self.now + skew, 2.0, tenant)
            if turn.granted:
                self.at(self.now + turn.seconds + self._connecting(), lambda: self._send(rate, skew, tenant, come))
            else:
                self.put_off += not turn.soon
                self.at(self.now + turn.seconds + self.random.uniform(0, 1), come)

        for number in range(mails):
            self.at(begin + number / 200, come)

    def _process(self, name: str) -> tuple[RateLimit, float]:
        """A process, and how far its clock is ahead: the clocks of machines have nothing in common."""
        if name not in self._processes:
            skew = self.random.uniform(-1000, 1000)
            rate = RateLimit(
                self._exchange(self.transactions.setdefault(name, [])),
                name,
                self.limit,
                by_tenant=True,
                tenant_limit=self.tenant_limit,
                clock=lambda: self.now + skew,
                random=self.random.random,
            )
            self._processes[name] = rate, skew
        return self._processes[name]

    def _exchange(
        self, transactions: list[float]
    ) -> Callable[[Callable[[Mapping[str, Any]], Mapping[str, Any]]], None]:
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

        return exchange

    def _send(self, rate: RateLimit, skew: float, tenant: str, otherwise: Callable[[], None] = lambda: None) -> None:
        seconds = rate.pace(self.now + skew, tenant)
        if seconds <= LONGEST_TURN:
            self.sent.append((self.now + seconds, tenant))
        else:
            self.at(self.now + seconds, otherwise)

    def _connecting(self) -> float:
        """The time until a mail has a connection: most are kept open."""
        return self.random.uniform(0, 1.5) if self.random.random() < 0.1 else 0.0

    def _latency(self) -> float:
        """That of half a transaction, in seconds."""
        return self.random.uniform(0, 3) if self.faults and self.random.random() < 0.05 else 0.0

    def times(self, tenant: str | None = None) -> list[float]:
        """When the mails (of a tenant) were sent, in order."""
        return sorted(time for time, whose in self.sent if tenant in (None, whose))

    def most_in_a_second(self, tenant: str | None = None) -> int:
        times = self.times(tenant)
        return max(bisect_left(times, time + 1.0) - number for number, time in enumerate(times))

    def per_second(self, begin: float, end: float, tenant: str | None = None) -> float:
        return sum(begin <= time < end for time in self.times(tenant)) / (end - begin)


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

    def __init__(self, tenant_limit: float | None = None, limit: float = LIMIT) -> None:
        self.now, self.fields = 0.0, dict[str, Any]()
        self.before_the_answer: Callable[[], None] = lambda: None
        self.rate = RateLimit(
            self._exchange, "a", limit, by_tenant=True, tenant_limit=tenant_limit, clock=lambda: self.now
        )

    def _exchange(self, decide: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self.fields = dict(decide(self.fields))
        self.before_the_answer()

    def per_second(self) -> float:
        """Mails per second, from the interval between two turns."""
        first, second = (self.rate.turn(self.now, 2.0) for _ in range(2))
        return 1 / (second.seconds - first.seconds) if first.granted else 0.0


def test_a_smaller_share_counts_even_if_only_its_answer_is_lost() -> None:
    def lose() -> None:
        raise Unavailable("the answer was lost")

    one = One()
    assert one.per_second() == pytest.approx(USED * LIMIT)
    entries = read_ledger(one.fields)["all"] | {"b": Share(1, 0, 0, LIMIT)}
    one.fields = written_ledger({"all": entries})
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


def test_a_backlog_is_sent_at_the_rate_and_each_mail_put_off_a_few_times() -> None:
    world = World(seed=6)
    world.backlog(2000, "one", processes=3)
    world.run(400)
    assert len(world.sent) == 2000
    assert world.most_in_a_second() <= LIMIT
    assert max(world.times()) <= 2000 / (0.9 * LIMIT) + 2 * PERIOD, "shares take a while to be divided"
    assert world.put_off <= 3 * 2000


def test_a_backlog_of_more_than_the_horizon_is_sent_at_the_rate_too() -> None:
    world = World(seed=7, limit=5)
    mails = int(3 * HORIZON * 5)
    world.backlog(mails, "one")
    world.run(2000)
    assert len(world.sent) == mails
    assert max(world.times()) <= mails / (0.9 * 5) + PERIOD
    assert world.put_off <= 6 * mails


def test_who_has_a_few_mails_does_not_wait_for_who_has_thousands() -> None:
    world = World(seed=8)
    world.backlog(3000, "many", processes=3)
    world.backlog(50, "few", processes=3, begin=30)
    world.run(400)
    assert max(world.times("few")) <= 30 + 50 / (LIMIT / 2) + 3 * LONGEST_TURN
    assert world.per_second(20, 160) >= 0.9 * LIMIT, "what the few leave, the many use"
    assert len(world.sent) == 3050


def test_tenants_with_backlogs_share_evenly_however_many_mails_they_have() -> None:
    world = World(seed=9)
    for tenant, mails in {"a": 3000, "b": 1500, "c": 1000}.items():
        world.backlog(mails, tenant, processes=2)
    world.run(90)
    assert world.per_second(20, 90) >= 0.9 * LIMIT
    for tenant in "abc":
        assert world.per_second(20, 90, tenant) == pytest.approx(0.92 * LIMIT / 3, rel=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_no_tenant_exceeds_its_own_limit_which_all_processes_share(seed: int) -> None:
    world = World(seed, faults=True, tenant_limit=4)
    for tenant in "abc":
        world.backlog(300, tenant, processes=3)
    world.run(200)
    assert world.most_in_a_second() <= LIMIT
    assert max(map(world.most_in_a_second, "abc")) <= 4


def test_tenants_use_their_limits_and_leave_the_rest_to_others() -> None:
    world = World(seed=10, tenant_limit=4)
    for tenant in "ab":
        world.backlog(1000, tenant, processes=2)
    world.run(120)
    for tenant in "ab":
        assert world.per_second(30, 120, tenant) >= 0.85 * 4


def test_a_tenant_that_had_no_mail_lately_gets_a_share_with_the_next_renewal() -> None:
    one = One(tenant_limit=5)
    assert one.rate.turn(one.now, 2.0, "a").granted
    one.now = 1.0
    turn = one.rate.turn(one.now, 2.0, "b")
    assert turn.soon
    one.now += turn.seconds
    assert one.rate.turn(one.now, 2.0, "b").granted


def test_the_document_holds_neither_the_names_of_tenants_nor_those_that_are_gone() -> None:
    one = One(tenant_limit=5)
    one.rate.turn(one.now, 2.0, "secret")
    assert "secret" not in str(one.fields)
    assert len(read_ledger(one.fields)) == 2
    for one.now in itertools.accumulate([PERIOD] * 6):
        one.rate.turn(one.now, 2.0, "another")
    assert len(read_ledger(one.fields)) == 2


def test_more_tenants_than_it_remembers_are_one_tenant() -> None:
    one = One()
    counts = Counter(one.rate.turn(one.now, 2.0, str(number)).granted for number in range(11_000))
    assert counts[True] > 0


def test_a_process_gives_all_its_shares_back_at_its_end() -> None:
    one = One(tenant_limit=5)
    one.rate.turn(one.now, 2.0, "a")
    one.rate.close()
    assert {share.mails for shares in read_ledger(one.fields).values() for share in shares.values()} == {0}
    assert not one.rate.turn(one.now + 1, 2.0, "a").granted


@pytest.mark.parametrize(
    ("limit", "waiting", "mails"),
    [
        pytest.param(20, 0, 8, id="nobody waits"),
        pytest.param(20, 32, 8, id="some wait"),
        pytest.param(20, 33, 12, id="many wait"),
        pytest.param(2, 5, 4, id="some wait at a low rate"),
        pytest.param(2, 6, 8, id="many wait at a low rate"),
        pytest.param(0.5, 0, 1, id="one waits at less than one a second"),
    ],
)
def test_only_a_crowded_process_takes_mails_to_put_them_off(limit: float, waiting: int, mails: int) -> None:
    one = One(limit=limit)
    one.rate.turn(one.now, 2.0)
    assert one.rate.capacity(waiting) == mails


def test_a_process_without_mail_writes_no_document() -> None:
    one = One()
    one.rate.close()
    assert not one.fields

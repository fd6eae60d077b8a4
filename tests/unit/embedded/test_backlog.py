"""At-least-once delivery, without a clock: every time is an argument."""

from __future__ import annotations

import pytest

from local.backends.embedded.backlog import Backlog, Backoff, Item
from local.backends.embedded.faults import Plan


def payloads(backlog: Backlog[str], now: float, limit: int = 10, seconds: float = 10) -> list[str]:
    return [lease.item.payload for lease in backlog.take(limit, now, seconds)]


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5000, 5.0)],
)
def test_back_off_doubles_from_the_minimum_to_the_maximum(attempts: int, seconds: float) -> None:
    assert Backoff(1.0, 5.0).after(attempts) == seconds


def test_leased_items_are_exclusive_until_the_deadline() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0)
    assert payloads(backlog, now=0) == ["a"]
    assert payloads(backlog, now=9.9) == []
    assert backlog.next_due() == 10
    assert payloads(backlog, now=10) == ["a"]


def test_an_extended_lease_lasts_longer() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0)
    (lease,) = backlog.take(1, 0, 10)
    backlog.extend(lease.number, now=8, seconds=10)
    assert payloads(backlog, now=12) == []
    assert payloads(backlog, now=18) == ["a"]


def test_acknowledged_items_are_removed() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0)
    (lease,) = backlog.take(1, 0, 10)
    backlog.acknowledge(lease.number)
    backlog.acknowledge(lease.number)
    assert len(backlog) == 0
    assert payloads(backlog, now=100) == []


def test_a_late_acknowledgement_does_not_end_the_next_lease() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0)
    (late,) = backlog.take(1, 0, 10)
    (current,) = backlog.take(1, 10, 10)
    backlog.acknowledge(late.number)
    assert backlog.holds(current.number)


def test_a_rejected_item_waits_for_its_back_off() -> None:
    backlog: Backlog[str] = Backlog(backoff=Backoff(2.0, 60.0))
    backlog.add("a", now=0)
    (lease,) = backlog.take(1, 0, 10)
    backlog.reject(lease.number, now=1)
    assert payloads(backlog, now=2.9) == []
    (again,) = backlog.take(1, 3.0, 10)
    assert again.attempt == 2


@pytest.mark.parametrize(("takes", "left"), [(True, 0), (False, 1)], ids=["taken", "refused"])
def test_an_item_that_failed_too_often_is_offered_as_dead_and_kept_if_refused(takes: bool, left: int) -> None:
    dead: list[Item[str]] = []

    def bury(item: Item[str]) -> bool:
        dead.append(item)
        return takes

    backlog: Backlog[str] = Backlog(max_attempts=2, on_dead=bury)
    backlog.add("a", now=0)
    for now in (0, 1):
        (lease,) = backlog.take(1, now, 10)
        backlog.reject(lease.number, now)
    assert [(item.payload, item.attempts) for item in dead] == [("a", 2)]
    assert len(backlog) == left


def test_items_with_a_key_come_one_at_a_time_and_in_order_even_after_a_failure() -> None:
    backlog: Backlog[str] = Backlog()
    for payload in ("a1", "a2"):
        backlog.add(payload, now=0, key="a")
    backlog.add("free", now=0)
    first, free = backlog.take(10, 0, 10)
    assert (first.item.payload, free.item.payload) == ("a1", "free")
    backlog.reject(first.number, now=0)
    (again,) = backlog.take(10, 0, 10)
    assert again.item.payload == "a1"
    backlog.acknowledge(again.number)
    assert payloads(backlog, now=0) == ["a2"]


def test_keys_are_forgotten_with_their_last_item() -> None:
    backlog: Backlog[str] = Backlog()
    for number in range(3):
        backlog.add("a", now=0, key=str(number))
        (lease,) = backlog.take(1, 0, 10)
        backlog.acknowledge(lease.number)
    assert backlog._behind == {}


@pytest.mark.parametrize(
    ("plan", "at_once", "later", "attempt"),
    [
        pytest.param(Plan(), 1, 1, 1, id="unharmed"),
        pytest.param(Plan(copies=2), 2, 2, 1, id="duplicated"),
        pytest.param(Plan(wait=5), 0, 1, 1, id="delayed"),
        pytest.param(Plan(lost=True), 0, 1, 2, id="lost on the way, then delivered again"),
    ],
)
def test_a_planned_fault_occurs(plan: Plan, at_once: int, later: int, attempt: int) -> None:
    backlog: Backlog[str] = Backlog(backoff=Backoff(1.0, 1.0))
    backlog.add("a", now=0, plan=plan)
    leases = backlog.take(10, 0, 100)
    assert len(leases) == at_once
    leases += backlog.take(10, 5, 100)
    assert len(leases) == later
    assert {lease.attempt for lease in leases} == {attempt}

"""The memory budget: who waits, for how long, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from local.waiting import wait_until
from sender.memory.budget import SMALL_BYTES, MemoryBudget
from shared.deadline import NEVER, Deadline
from shared.errors import Deferred
from tests.assembly import PATIENCE, memory_budget

MIB = 1024 * 1024
SIZE = 100 * MIB


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Holder:
    """A mail that takes memory on a thread, and holds it until it is told to give it back."""

    def __init__(self, budget: MemoryBudget, pool: ThreadPoolExecutor, size: int) -> None:
        self.has_it = threading.Event()
        self.done = threading.Event()
        self._budget = budget
        self.result: Future[None] = pool.submit(self._run, size)

    def _run(self, size: int) -> None:
        with self._budget.reservation(NEVER) as room:
            room.take(size)
            self.has_it.set()
            assert self.done.wait(PATIENCE)

    def release(self) -> None:
        self.done.set()
        self.result.result(PATIENCE)


def waiting(budget: MemoryBudget, count: int) -> None:
    assert wait_until(lambda: len(budget._waiting) == count, PATIENCE, pause=0.001)


def test_mails_share_the_budget_and_the_next_one_waits_for_one_that_ends(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE)
    first, second = Holder(budget, pool, 50 * MIB), Holder(budget, pool, 50 * MIB)
    assert first.has_it.wait(PATIENCE)
    assert second.has_it.wait(PATIENCE)
    third = Holder(budget, pool, 50 * MIB)
    waiting(budget, 1)
    assert not third.has_it.is_set()
    first.release()
    assert third.has_it.wait(PATIENCE)
    second.release()
    third.release()


def test_mails_get_their_memory_in_the_order_of_their_arrival(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE)
    first = Holder(budget, pool, 60 * MIB)
    assert first.has_it.wait(PATIENCE)
    large = Holder(budget, pool, SIZE)
    waiting(budget, 1)
    later = Holder(budget, pool, 2 * MIB)
    waiting(budget, 2)
    first.release()
    assert large.has_it.wait(PATIENCE)
    assert not later.has_it.is_set()
    large.release()
    later.release()


def test_a_small_mail_never_waits(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE, waiting=1)
    first = Holder(budget, pool, SIZE)
    assert first.has_it.wait(PATIENCE)
    second = Holder(budget, pool, SIZE)
    waiting(budget, 1)
    with budget.reservation(NEVER) as room:
        room.take(SMALL_BYTES)
    first.release()
    second.release()


def test_a_mail_that_waits_too_long_is_put_off_and_gives_back_what_it_had() -> None:
    budget = memory_budget(SIZE, wait_seconds=0.01)
    with budget.reservation(NEVER) as holder:
        holder.take(60 * MIB)
        with budget.reservation(NEVER) as room:
            room.take(30 * MIB)
            with pytest.raises(Deferred) as deferred:
                room.take(50 * MIB)
            assert deferred.value.seconds == 0.01
            holder.take(SIZE)  # all of it is free


def test_a_mail_is_put_off_at_once_if_too_many_wait(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE, waiting=1)
    first = Holder(budget, pool, SIZE)
    assert first.has_it.wait(PATIENCE)
    second = Holder(budget, pool, SIZE)
    waiting(budget, 1)
    with budget.reservation(NEVER) as room, pytest.raises(Deferred, match="Too little memory"):
        room.take(2 * MIB)
    first.release()
    second.release()


def test_nobody_waits_longer_than_the_attempt_may_take() -> None:
    budget = memory_budget(SIZE)
    with budget.reservation(NEVER) as holder:
        holder.take(SIZE)
        with budget.reservation(Deadline.after(0.01)) as room, pytest.raises(Deferred):
            room.take(SIZE)


def test_a_mail_larger_than_the_budget_goes_alone() -> None:
    budget = memory_budget(SIZE, wait_seconds=0.01)
    with budget.reservation(NEVER) as large:
        large.take(10 * SIZE)
        with budget.reservation(NEVER) as room, pytest.raises(Deferred):
            room.take(2 * MIB)


def test_two_mails_that_need_more_do_not_wait_for_each_other(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE)
    both = threading.Barrier(2)

    def grow() -> None:
        with budget.reservation(NEVER) as room:
            room.take(50 * MIB)
            both.wait(PATIENCE)
            room.take(80 * MIB)

    for growing in [pool.submit(grow), pool.submit(grow)]:
        growing.result(PATIENCE)


def test_what_a_mail_does_not_need_any_more_is_free(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE)
    with budget.reservation(NEVER) as room:
        room.take(SIZE)
        second = Holder(budget, pool, 50 * MIB)
        waiting(budget, 1)
        room.take(40 * MIB)
        assert second.has_it.wait(PATIENCE)
    second.release()


def test_all_memory_is_back_after_an_error() -> None:
    budget = memory_budget(SIZE, wait_seconds=0.01)
    with pytest.raises(ValueError, match="bug"), budget.reservation(NEVER) as room:
        room.take(SIZE)
        raise ValueError("bug")
    with budget.reservation(NEVER) as room:
        room.take(SIZE)


def test_nobody_waits_while_the_sender_shuts_down(pool: ThreadPoolExecutor) -> None:
    budget = memory_budget(SIZE)
    with budget.reservation(NEVER) as holder:
        holder.take(SIZE)
        second = Holder(budget, pool, SIZE)
        waiting(budget, 1)
        budget.close()
        with pytest.raises(Deferred, match="shutting down"):
            second.result.result(PATIENCE)

"""The pacing of loads, and the rows made from measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bench import plan
from bench.documents import Written, bulk_name
from bench.figures import Cost, Smtp
from bench.ledger import Report
from bench.player import Played, paced, row, single_pause
from tests.unit.bench.samples import STEADY_MEMORY

BEGIN = datetime(2026, 5, 4, tzinfo=UTC)
COST = Cost(1.0, STEADY_MEMORY)
TWO = replace(plan.BURST_1K, mails=2)


class Time:
    """A clock that only moves by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_steady_load_keeps_its_rate_however_often_the_clock_is_read() -> None:
    time, written = Time(), list[tuple[float, int]]()
    for some in paced(range(100), 50.0, time.clock, time.sleep):
        written += [(time.now - 100.0, each) for each in some]
    assert [each for _, each in written] == list(range(100))
    assert all(at >= each / 50.0 - 1e-6 for at, each in written)
    assert written[-1][0] == pytest.approx(2.0, abs=0.05)


def test_a_late_load_writes_all_due_items_at_once() -> None:
    time = Time()
    batches = paced(range(100), 50.0, time.clock, time.sleep)
    next(batches)
    time.sleep(1.0)
    assert len(next(batches)) == 50


@pytest.mark.parametrize("look_every", [0.05, 0.1])
def test_single_mails_are_written_at_all_points_between_two_looks_of_the_emulator(look_every: float) -> None:
    parts = [int(10 * (single_pause(number) % look_every) / look_every) for number in range(100)]
    assert all(7 <= parts.count(tenth) <= 13 for tenth in range(10))


def written(name: str, created: float, ended: float, state: str = "SUCCESS") -> Written:
    return Written(name, state, BEGIN + timedelta(seconds=created), BEGIN + timedelta(seconds=ended))


def played(documents: Sequence[Written], taken: Sequence[tuple[str, float]]) -> Played:
    at = [(name, BEGIN.timestamp() + seconds) for name, seconds in taken]
    return Played(documents, Report(at, connections=3, round_trips=8), None)


def test_times_run_from_the_document_to_the_server_and_to_the_result() -> None:
    documents = [written("a", 0.0, 0.5), written("b", 1.0, 4.0)]
    made = row("push", TWO, played(documents, [("a", 0.25), ("b", 3.0)]), COST, COST, 2.0)
    assert made.seconds == pytest.approx(4.0)
    assert made.rate == pytest.approx(0.5)
    assert made.to_accept and made.to_success
    assert (made.to_accept.p50, made.to_accept.p99) == pytest.approx((0.25, 2.0))
    assert (made.to_success.p50, made.to_success.p99) == pytest.approx((0.5, 3.0))
    assert made.smtp == Smtp(3, 8)
    assert made.is_complete


def test_a_mail_that_came_twice_is_counted_and_timed_by_its_first() -> None:
    documents = [written("a", 0.0, 0.5), written("b", 0.0, 0.5)]
    made = row("push", TWO, played(documents, [("a", 0.25), ("b", 0.25), ("a", 9.0)]), COST, COST, 2.0)
    assert made.duplicates == 1
    assert made.to_accept and made.to_accept.p99 == pytest.approx(0.25)
    assert not made.is_complete


def test_an_error_is_no_success() -> None:
    documents = [written("a", 0.0, 0.5), written("b", 0.0, 0.5, "ERROR")]
    made = row("push", TWO, played(documents, [("a", 0.25)]), COST, COST, 2.0)
    assert made.succeeded == 1
    assert not made.is_complete


def test_queued_mails_begin_when_their_messages_are_published() -> None:
    documents = [written("a", 0.0, 10.5), written("b", 0.0, 11.0)]
    queued = replace(TWO, shape=plan.Shape.QUEUED)
    made = row("push", queued, Played(documents, None, BEGIN.timestamp() + 10.0), COST, None, 2.0)
    assert made.seconds == pytest.approx(1.0)
    assert (made.to_accept, made.to_success, made.smtp, made.dispatcher) == (None, None, None, None)


def test_mails_in_the_lane_bulk_count_but_their_wait_is_not_shown() -> None:
    documents = [written("a", 10.0, 10.5), written(bulk_name("x", 0), 0.0, 30.0)]
    made = row("pull", TWO, played(documents, [("a", 10.25), (bulk_name("x", 0), 29.0)]), COST, COST, 2.0)
    assert (made.succeeded, made.is_complete) == (2, True)
    assert made.seconds == pytest.approx(30.0)
    assert made.to_accept and made.to_accept.p99 == pytest.approx(0.25)
    assert made.to_success and made.to_success.p99 == pytest.approx(0.5)

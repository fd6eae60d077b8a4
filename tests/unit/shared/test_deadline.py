"""Deadlines on a clock that the tests set."""

from __future__ import annotations

import pytest

from shared.deadline import Deadline

CLOCK = [100.0]


def at(seconds: float, latest_start: float = 1e9) -> Deadline:
    return Deadline(seconds, lambda: CLOCK[0], latest_start)


@pytest.mark.parametrize(
    ("deadline", "margin", "start_by"),
    [
        pytest.param(at(160), 10, 150, id="so-that-there-is-time"),
        pytest.param(at(160, 120), 10, 120, id="before-the-latest-start"),
        pytest.param(at(160, 155), 10, 150, id="before-both"),
        pytest.param(at(160, 90), 0, 90, id="too-late"),
    ],
)
def test_something_must_begin_by(deadline: Deadline, margin: float, start_by: float) -> None:
    assert deadline.start_by(margin).at == start_by
    assert deadline.start_by(margin).remaining() == start_by - 100


@pytest.mark.parametrize(("seconds", "latest"), [(20, 120), (-5, 95), (500, 300)])
def test_the_earlier_of_two_latest_starts_counts(seconds: float, latest: float) -> None:
    assert at(160, 300).starting_within(seconds).latest_start == latest


def test_a_share_of_the_time_keeps_the_latest_start() -> None:
    assert at(160, 105).within(20).start_by().at == 105
    assert at(160).within(20).at == 120


@pytest.mark.parametrize(("latest_start", "missed"), [(99.0, True), (100.0, True), (101.0, False)])
def test_a_start_is_missed_from_that_moment(latest_start: float, missed: bool) -> None:
    assert at(160, latest_start).start_missed is missed

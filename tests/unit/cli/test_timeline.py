from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cli.timeline import TIMELINE_COLUMNS, timeline
from shared.delivery.history import Entry, ended
from tests.unit.cli.builders import NOW, mail

BARS = TIMELINE_COLUMNS.index("")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def attempt(number: int, begin: float, end: float, state: str, code: str | None = None, response: str = "") -> Entry:
    return ended(number, at(begin), at(end), state, code, "default", "<1@b.c>", response)


def cells(with_bars: bool = False, now: datetime = NOW, **delivery: Any) -> list[list[str]]:
    return [list(map(str, row)) for row in timeline(mail(startTime=NOW, **delivery), now, with_bars)]


RETRIED = [attempt(1, 1, 3.5, "RETRY", "temporary", "451\nLater"), attempt(2, 39, 40, "SUCCESS", None, "250 Ok")]


def test_in_a_pipe_each_attempt_is_a_line_of_cells() -> None:
    assert cells(state="SUCCESS", attempts=2, history=RETRIED) == [
        ["2026-11-24T12:00:00Z", "queued", "", "", "", "", ""],
        ["2026-11-24T12:00:01Z", "attempt 1", "RETRY", "temporary", "2.50 s", "default", "451 Later"],
        ["2026-11-24T12:00:39Z", "attempt 2", "SUCCESS", "", "1.00 s", "default", "250 Ok"],
    ]


def test_on_a_terminal_bars_show_waiting_and_attempts_from_queueing_to_the_end() -> None:
    rows = cells(True, at(9_999), state="SUCCESS", history=RETRIED)
    assert {len(row) for row in rows} == {len(TIMELINE_COLUMNS)}
    assert [row[BARS] for row in rows] == ["", "·███", "·" * 39 + "█"]


def test_before_the_end_the_bars_go_up_to_now() -> None:
    rows = cells(True, at(40), state="RETRY", history=RETRIED[:1], nextAttemptTime=at(60))
    assert [row[BARS] for row in rows] == ["", "·███", ""]


def test_what_comes_next_is_the_last_line() -> None:
    assert cells(state="PROCESSING", attempts=2, history=RETRIED[:1])[-1] == ["", "attempt 2", "PROCESSING", *[""] * 4]
    assert cells(state="RETRY", nextAttemptTime=at(60))[-1][:3] == ["2026-11-24T12:01:00Z", "not before", "RETRY"]


def test_a_mail_of_which_nothing_has_ended_has_none() -> None:
    assert cells(state="PENDING", attempts=0) == []
    assert timeline(mail(), NOW, with_bars=False) == []


def test_what_anyone_wrote_as_history_can_be_shown() -> None:
    forged = [{"attempt": 1, "state": "\x1b[31m", "response": "\x1b]0;x"}, {"attempt": 2, "startTime": "soon"}, 7]
    for with_bars in (False, True):
        rows = cells(with_bars, state="SUCCESS", history=forged)
        assert len(rows) == 3
        assert all(cell.isprintable() for row in rows for cell in row)


def test_times_that_go_backwards_or_stand_still_have_bars() -> None:
    history = [attempt(1, 5, -5, "ERROR"), attempt(2, 0, 0, "ERROR")]
    assert all(len(row[BARS]) <= 40 for row in cells(True, state="ERROR", history=history))
    assert cells(True, state="ERROR", history=[attempt(1, 0, 0, "ERROR")])[1][BARS] == "█"

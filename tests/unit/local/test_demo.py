from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.demo.board import Board
from local.demo.run import miscounted
from local.demo.scenario import STORIES, Outcome, Story, differences, is_settled
from local.mailstore import MailStore

SENT = Outcome("SUCCESS", attempts=2, accepted=1)
DELIVERY = {"state": "SUCCESS", "attempts": 2, "info": {"accepted": ["a@example.com"], "rejected": []}}


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        pytest.param(DELIVERY, [], id="as expected"),
        pytest.param({**DELIVERY, "state": "ERROR"}, ["state: ERROR instead of SUCCESS"], id="another state"),
        pytest.param({**DELIVERY, "attempts": 1}, ["attempts: 1 instead of 2"], id="an attempt too few"),
        pytest.param({**DELIVERY, "info": None}, ["accepted: 0 instead of 1"], id="nobody accepted"),
        pytest.param({**DELIVERY, "errorCode": "unknown"}, ["errorCode: unknown instead of None"], id="an old error"),
        pytest.param(
            {},
            ["state: None instead of SUCCESS", "attempts: None instead of 2", "accepted: 0 instead of 1"],
            id="nothing happened",
        ),
    ],
)
def test_differences_are_named(delivery: dict[str, Any], expected: list[str]) -> None:
    assert differences(SENT, delivery) == expected


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        pytest.param({}, False, id="not yet seen"),
        pytest.param({"state": "PROCESSING", "attempts": 2}, False, id="under way"),
        pytest.param({"state": "ERROR", "attempts": 1}, False, id="the attempt before"),
        pytest.param({"state": "ERROR", "attempts": 2}, True, id="ended, though with an error"),
        pytest.param({"state": "SUCCESS", "attempts": 3}, True, id="one attempt too many is an end, too"),
    ],
)
def test_waiting_ends_with_the_attempt(delivery: dict[str, Any], expected: bool) -> None:
    assert is_settled(SENT, delivery) is expected


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        pytest.param({"state": "PENDING", "attempts": 0}, False, id="queued"),
        pytest.param({"state": "PROCESSING", "attempts": 1}, False, id="under way"),
        pytest.param({"state": "PENDING", "attempts": 0, "outageTime": datetime.now(UTC)}, True, id="waits"),
    ],
)
def test_a_mail_may_be_expected_to_wait_for_the_mail_server(delivery: dict[str, Any], expected: bool) -> None:
    assert is_settled(Outcome("PENDING", attempts=0, error_code="connection"), delivery) is expected


def test_each_mail_must_be_received_once(tmp_path: Path) -> None:
    stories = (Story("a", "Once", ()), Story("b", "Twice", ()), Story("c", "Never", ()))
    store = MailStore(tmp_path)
    for subject in ("Once", "Twice", "Twice"):
        store.keep("a@example.com", ["b@example.com"], f"Subject: {subject}\r\n\r\n".encode())
    assert miscounted(stories, store.mails()) == [
        "b: 2 mails received instead of 1",
        "c: 0 mails received instead of 1",
    ]


def test_stories_are_told_apart_by_id_and_subject() -> None:
    assert len({story.id for story in STORIES}) == len({story.subject for story in STORIES}) == len(STORIES)


def test_in_a_pipe_every_change_of_state_is_a_line_and_the_verdict_comes_last(tmp_path: Path) -> None:
    screen = StringIO()
    board = Board([Story("order-17", "Order 17", ())], Console(file=screen, width=120))
    board.begin()
    for state in ("PENDING", "PROCESSING", "PROCESSING", "SUCCESS"):
        board.moved("order-17", {"state": state, "attempts": 1, "info": {"response": "250 [ok]"}})
    board.end()
    mail = MailStore(tmp_path).keep("a@example.com", ["b@example.com"], b"Subject: Order 17\r\n\r\n")
    board.conclude([mail], [])
    lines = [line.strip() for line in screen.getvalue().splitlines()]
    assert lines[:3] == [f"{'order-17':<14}{state}" for state in ("PENDING", "PROCESSING", "SUCCESS")]
    assert any("250 [ok]" in line for line in lines)
    assert lines[-1] == "✓ Everything ended as expected."


def test_the_verdict_says_what_is_wrong() -> None:
    screen = StringIO()
    Board([], Console(file=screen, width=120)).conclude([], ["order-17: state: ERROR instead of SUCCESS"])
    assert screen.getvalue().splitlines()[-1] == "✗ order-17: state: ERROR instead of SUCCESS"


def test_the_introduction_fits_a_terminal_of_80_columns() -> None:
    screen = StringIO()
    Board(STORIES, Console(file=screen, width=80)).explain("embedded")
    shown = " ".join(screen.getvalue().replace("│", " ").split())
    assert "over a Firestore and a Pub/Sub on this machine" in shown
    assert "sent, refused, corrected, held up by a mail server that is down." in shown
    assert "sender ──▶ inbox" in shown
    assert "…" not in shown

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from local.logview import LogFollower, compact
from local.waiting import wait_until
from tests.patience import patience

ENTRY = {"severity": "INFO", "message": "sent", "logger": "x", "time": "2026-11-24T02:23:45.678Z", "document": "mail/a"}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param(json.dumps(ENTRY), "02:23:45 sender     sent document=mail/a", id="an entry"),
        pytest.param(
            json.dumps({"message": "bare"}), "         sender     bare", id="an entry without anything but a message"
        ),
        pytest.param(
            json.dumps({**ENTRY, "reason": "sent", "before": None, "attempt": 1}),
            "02:23:45 sender     sent document=mail/a attempt=1",
            id="empty and repeated fields are left out",
        ),
        pytest.param(
            json.dumps({**ENTRY, "service": "sender", "event": "attempt", "logging.googleapis.com/spanId": "1"}),
            "02:23:45 sender     sent document=mail/a",
            id="fields for machines are left out",
        ),
        pytest.param("Traceback …", "         sender     Traceback …", id="not JSON"),
        pytest.param("[1]", "         sender     [1]", id="JSON, but not an object"),
        pytest.param(
            json.dumps({**ENTRY, "document": "mail/b", "stack_trace": "Traceback …\nValueError"}),
            "02:23:45 sender     sent document=mail/b\nTraceback …\nValueError",
            id="with a stack trace",
        ),
    ],
)
def test_a_log_line_becomes_a_short_one(line: str, shown: str) -> None:
    assert click.unstyle(compact("sender", line)) == shown


def test_a_warning_is_coloured() -> None:
    assert click.style("careful", fg="yellow") in compact(
        "sender", json.dumps({"severity": "WARNING", "message": "careful"})
    )


def test_lines_are_handed_on_once_each_and_only_when_complete(tmp_path: Path) -> None:
    log, shown = tmp_path / "sender.log", list[tuple[str, str]]()
    follower = LogFollower({"sender": log}, lambda name, line: shown.append((name, line)))
    follower.start()
    log.write_text("one\ntw")
    assert wait_until(lambda: shown == [("sender", "one")], patience(5))
    with log.open("a") as file:
        file.write("o\nthree\n")
    follower.stop()
    assert shown == [("sender", "one"), ("sender", "two"), ("sender", "three")]

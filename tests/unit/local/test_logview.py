from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from local.logview import LogFollower, compact, is_idle, last_entries
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


RUN = {
    "severity": "INFO",
    "message": "reconciler run",
    "event": "reconciler-run",
    "service": "dispatcher",
    "complete": True,
}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({**RUN, "duration_ms": 3.5}, True, id="it found nothing"),
        pytest.param({**RUN, "examined": 7, "due": 0, "duration_ms": 3.5}, True, id="it only looked"),
        pytest.param({**RUN, "due": 2}, False, id="it did something"),
        pytest.param({**RUN, "complete": False}, False, id="it did not come to an end"),
        pytest.param(ENTRY, False, id="another entry"),
    ],
)
def test_an_entry_about_nothing_is_idle(entry: dict[str, object], expected: bool) -> None:
    assert is_idle(json.dumps(entry)) is expected


def test_the_last_entries_of_all_services_are_in_order_and_without_the_idle_ones(tmp_path: Path) -> None:
    logs = {
        "dispatcher": tmp_path / "dispatcher.log",
        "sender": tmp_path / "sender.log",
        "missing": tmp_path / "no.log",
    }
    early, late = ENTRY | {"time": "2026-11-24T01:00:00Z", "message": "early"}, ENTRY | {"message": "late", "x": 1}
    logs["dispatcher"].write_text("".join(json.dumps(each) + "\n" for each in (RUN, late)) + "Traceback …\n")
    logs["sender"].write_text(json.dumps(early) + "\n")
    found = last_entries(logs)
    assert [(entry.service, entry.message) for entry in found] == [
        ("sender", "early"),
        ("dispatcher", "late"),
        ("dispatcher", "Traceback …"),
    ]
    assert found[1].details == "document=mail/a x=1"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "sender.log"
    log.write_text("".join(json.dumps({"message": f"entry {number}"}) + "\n" for number in range(1000)))
    found = [entry.message for entry in last_entries({"sender": log}, most_bytes=100)]
    assert found == ["entry 997", "entry 998", "entry 999"]

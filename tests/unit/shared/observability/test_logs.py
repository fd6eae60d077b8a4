"""Log lines for Cloud Logging, and what they must never contain."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.observability import logs, tracing
from shared.observability.logs import JsonFormatter

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def line(level: int, text: str, **extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "firepost", "levelno": level, "levelname": logging.getLevelName(level)})
    record.msg = text
    for name, value in extra.items():
        setattr(record, name, value)
    entry: dict[str, Any] = json.loads(JsonFormatter("sender", "shop").format(record))
    return entry


def test_a_line_has_a_severity_and_the_fields_given_with_it() -> None:
    entry = line(logging.WARNING, "event", fields={"document": "mail/a", "attempt": 2})
    assert (entry["severity"], entry["message"], entry["document"], entry["attempt"]) == (
        "WARNING",
        "event",
        "mail/a",
        2,
    )


def test_an_errors_text_may_quote_a_mail_so_only_its_place_and_class_are_logged() -> None:
    quoted = "Dear Ada, your password is hunter2"
    try:
        raise ValueError(quoted)
    except ValueError as error:
        entry = line(logging.ERROR, "failed", exc_info=(type(error), error, error.__traceback__))
    assert "test_logs.py" in entry["stack_trace"]
    assert entry["stack_trace"].endswith("ValueError")
    assert quoted not in json.dumps(entry)


class Unwell(Exception):
    """An error of this module."""


def deep(depth: int) -> None:
    """Raise `Unwell` below `depth` calls, of which no two in a row look alike: Python would fold them."""
    if depth == 0:
        raise Unwell
    if depth % 2:
        deep(depth - 1)
    else:
        deep(depth - 1)


@pytest.mark.parametrize("error", [ValueError(), Unwell()])
def test_a_stack_has_the_form_that_error_reporting_recognises(error: Exception) -> None:
    try:
        raise error
    except Exception:
        expected = traceback.format_exc().rstrip()
        entry = line(logging.ERROR, "failed", exc_info=sys.exc_info())
    assert entry["stack_trace"] == expected


def test_a_long_stack_keeps_its_head_and_the_innermost_frames() -> None:
    try:
        deep(60)
    except Unwell:
        entry = line(logging.ERROR, "failed", exc_info=sys.exc_info())
    stack = entry["stack_trace"].splitlines()
    assert stack[0] == "Traceback (most recent call last):"
    assert stack[1].startswith("  File "), "frames are whole"
    assert stack[-1].endswith("Unwell")
    assert stack[-2].strip() == "raise Unwell"
    assert len(entry["stack_trace"]) < 3_200


def test_an_entry_without_an_error_has_no_stack() -> None:
    assert "stack_trace" not in line(logging.ERROR, "failed", exc_info=(None, None, None))


def test_a_line_has_the_time_and_the_service() -> None:
    entry = line(logging.INFO, "x", created=1_800_000_000.0619)
    assert (entry["time"], entry["service"]) == ("2027-01-15T08:00:00.061Z", "sender")


def test_a_line_belongs_to_the_trace_of_the_work_at_hand() -> None:
    with tracing.within(tracing.of_message({"traceparent": f"00-{TRACE}-{SPAN}-01"})):
        entry = line(logging.INFO, "x")
    assert entry["logging.googleapis.com/trace"] == f"projects/shop/traces/{TRACE}"
    assert entry["logging.googleapis.com/spanId"] == SPAN
    assert "logging.googleapis.com/trace" not in line(logging.INFO, "x")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """The file that all logs go to."""
    root, path = logging.getLogger(), tmp_path / "log"
    handlers, level = root.handlers[:], root.level
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    logs.configure("sender", "shop", descriptor)
    yield path
    root.handlers[:], root.level = handlers, level
    os.close(descriptor)


def test_log_entries_are_written_at_once_one_per_line(written: Path) -> None:
    def work(thread: int) -> None:
        for number in range(200):
            logging.getLogger("t").info("x", extra={"fields": {"n": thread * 200 + number, "pad": "x" * number}})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(text)["n"] for text in written.read_text().splitlines()) == list(range(800))


def test_text_that_utf8_cannot_encode_is_logged(written: Path) -> None:
    logging.getLogger("t").info("x", extra={"fields": {"document": "mail/\ud800"}})
    assert json.loads(written.read_text())["document"] == "mail/\ud800"

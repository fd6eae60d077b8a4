"""Log lines as Cloud Logging reads them, and what must never be in one."""

from __future__ import annotations

import json
import logging
from typing import Any

from shared.logs import JsonFormatter


def line(level: int, text: str, **extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "firepost", "levelno": level, "levelname": logging.getLevelName(level)})
    record.msg = text
    for name, value in extra.items():
        setattr(record, name, value)
    entry: dict[str, Any] = json.loads(JsonFormatter().format(record))
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

"""Structured logs as Cloud Logging reads them: one JSON object a line on standard output.

https://cloud.google.com/logging/docs/structured-logging. Lines hold document paths, states, counts, durations and
words; never a body, an address or a secret. Whoever logs passes `extra={"fields": {…}}`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, TextIO


class JsonFormatter(logging.Formatter):
    """A record as one line: `severity`, `message`, `logger`, then the fields given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["stack_trace"] = _stack(record.exc_info[1])
        return json.dumps(entry, ensure_ascii=False, default=str)


def _stack(error: BaseException | None) -> str:
    """Where an error came from, and its class. Not its text: it may quote what the mail says."""
    frames = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    return f"{frames}{type(error).__name__}"


def configure(stream: TextIO = sys.stdout, level: int = logging.INFO) -> None:
    """Send every logger's records to `stream`, in UTC."""
    formatter = JsonFormatter()
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)

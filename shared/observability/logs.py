"""Structured logs for Cloud Logging: one JSON object per line on standard output.

https://cloud.google.com/logging/docs/structured-logging. Lines contain document paths, states, counts, durations and
reasons; never a body, an address or a secret. Pass fields as `extra={"fields": {…}}`; `shared.observability.events`
writes the entries about work.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any, Final

from opentelemetry.trace import format_span_id, format_trace_id

from shared.observability import tracing

#: Characters of all frames. Linux's PIPE_BUF is 4096 bytes: a line up to that size reaches a pipe in one piece.
_LONGEST_STACK: Final = 3000


class JsonFormatter(logging.Formatter):
    """A record as one line: severity, message, logger, time, service and trace, then the record's own fields.

    Each mail writes five lines, so this is kept fast: `logging`'s own formatter is not used.
    """

    def __init__(self, service: str, project: str) -> None:
        """`service` appears in every line; `project` is the Google Cloud project that keeps the traces."""
        super().__init__()
        self._service = service
        self._traces = f"projects/{project}/traces/"
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":")).encode
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without the line end."""
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "time": self._time(record.created),
            "service": self._service,
        }
        if (span := tracing.current_span()) is not None:
            entry["logging.googleapis.com/trace"] = self._traces + format_trace_id(span.trace_id)
            entry["logging.googleapis.com/spanId"] = format_span_id(span.span_id)
        if (fields := record.__dict__.get("fields")) is not None:
            entry.update(fields)
        if record.exc_info and record.exc_info[1] is not None:
            entry["stack_trace"] = _stack(record.exc_info[1])
        return self._encode(entry)

    def _time(self, created: float) -> str:
        """RFC 3339 in UTC; the part down to the second is cached."""
        second, text = self._second
        if second != int(created):
            second = int(created)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03d}Z"


def _stack(error: BaseException) -> str:
    """The traceback as Python prints it, but without the error's text, which may quote the mail.

    Error Reporting recognises no other form (https://cloud.google.com/error-reporting/docs/formatting-error-messages).
    Of a long one, the innermost frames are kept.
    """
    frames: list[str] = []
    room = _LONGEST_STACK
    for frame in reversed(traceback.format_tb(error.__traceback__)):
        room -= len(frame)
        if room < 0:
            break
        frames.append(frame)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "".join(["Traceback (most recent call last):\n", *reversed(frames), name])


class LineHandler(logging.Handler):
    """Writes each record unbuffered, with one system call: a crash loses no line logged before it.

    It takes no lock, because threads would queue for it, and one call's output arrives in one piece anyway.
    """

    def __init__(self, formatter: logging.Formatter, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._descriptor = descriptor

    def handle(self, record: logging.LogRecord) -> bool:
        """Called by `logging`; unlike the inherited method, it takes no lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        try:
            # What UTF-8 can't encode (a lone surrogate) becomes the escape that JSON has for it.
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
            while line:
                line = line[os.write(self._descriptor, line) :]
        except Exception:
            self.handleError(record)


def configure(service: str, project: str, descriptor: int | None = None, level: int = logging.INFO) -> None:
    """Send every logger's records to the file `descriptor` (default: standard output)."""
    root = logging.getLogger()
    output = sys.stdout.fileno() if descriptor is None else descriptor
    root.handlers[:] = [LineHandler(JsonFormatter(service, project), output)]
    root.setLevel(level)
    # Skip collecting data that no line contains (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

"""Structured logs as Cloud Logging reads them: one JSON object a line on standard output.

https://cloud.google.com/logging/docs/structured-logging. Lines hold document paths, states, counts, durations and
words; never a body, an address or a secret. Whoever logs passes `extra={"fields": {…}}`; entries about work are
written by `shared.observability.events`.
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

#: Characters. Linux's PIPE_BUF is 4096 bytes: a line up to there reaches a pipe in one piece, whoever else writes.
_LONGEST_STACK: Final = 3000


class JsonFormatter(logging.Formatter):
    """A record as one line: severity, message, logger, time, service and trace, then the fields given with it.

    Five lines are written for a mail, so this is short work: `logging`'s own formatting is left out.
    """

    def __init__(self, service: str, project: str) -> None:
        """`service` is what every line is marked with; `project` is where Cloud Trace keeps the traces."""
        super().__init__()
        self._service = service
        self._traces = f"projects/{project}/traces/"
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":")).encode
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
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
        if record.exc_info:
            entry["stack_trace"] = _stack(record.exc_info[1])
        return self._encode(entry)

    def _time(self, created: float) -> str:
        """RFC 3339 in UTC; what is the same for a whole second is only made once."""
        second, text = self._second
        if second != int(created):
            second = int(created)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03d}Z"


def _stack(error: BaseException | None) -> str:
    """Where an error came from, and its class. Not its text: it may quote what the mail says."""
    frames = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    return f"{frames[-_LONGEST_STACK:]}{type(error).__name__}"


class LineHandler(logging.Handler):
    """Writes each record with one system call, unbuffered: what was logged before a crash is out.

    It takes no lock, as threads would queue for it, and what one call writes comes out in one piece anyway.
    """

    def __init__(self, formatter: logging.Formatter, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._descriptor = descriptor

    def handle(self, record: logging.LogRecord) -> bool:
        """Called by `logging`; without the lock that its own way takes."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        try:
            # What UTF-8 can't say, half of a surrogate pair, becomes the escape that JSON has for it.
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
    # What no line says need not be found out (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

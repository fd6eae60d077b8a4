"""The services' logs, for people: one short line per entry."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shared.observability.events import Event

_COLOURS = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
#: The fields that the line shows in another form, or not at all.
_SPECIAL_FIELDS = {"severity", "message", "time", "logger", "stack_trace", "service", "event"}
#: These are for Cloud Logging, and too long for a line.
_CLOUD_FIELDS = "logging.googleapis.com/"

#: What a run of the reconciler tells that has done nothing.
_OF_EVERY_RUN = frozenset({"examined", "complete", "duration_ms"})

POLL_SECONDS = 0.1
#: Bytes at the end of each file in which the console looks for entries.
TAIL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a service's log. `time` is an RFC 3339 time in UTC; a line that is not JSON has only a `message`.

    `details` are the fields that the message does not contain, as `name=value`.
    """

    service: str
    time: str
    severity: str
    message: str
    details: str
    trace: str = ""


def read_entry(service: str, line: str) -> LogEntry:
    """Read one line of a service's log, whatever it is."""
    fields = _fields(line)
    if fields is None:
        return LogEntry(service, "", "", line, "")
    message = str(fields["message"])
    more = {name: str(value) for name, value in fields.items() if _is_shown(name) and value is not None}
    details = " ".join(f"{name}={value}" for name, value in more.items() if value not in message)
    return LogEntry(
        service,
        str(fields.get("time", "")),
        str(fields.get("severity", "")),
        message,
        details,
        str(fields.get("stack_trace", "")),
    )


def is_idle(line: str) -> bool:
    """Whether the entry says that there was nothing to do: a run of the reconciler that only looked."""
    fields = _fields(line) or {}
    done = (value for name, value in fields.items() if _is_shown(name) and name not in _OF_EVERY_RUN)
    return fields.get("event") == Event.RECONCILER_RUN and fields.get("complete") is True and not any(done)


def compact(service: str, line: str) -> str:
    """One line of a service's log, shortened: the time of day, the service, the message, and the details.

    Colours are ANSI escapes (`click.echo` strips them in a pipe).
    """
    entry = read_entry(service, line)
    label = click.style(f"{service:<10}", bold=True)
    message = click.style(entry.message, fg=_COLOURS.get(entry.severity))
    details = click.style(f" {entry.details}" if entry.details else "", dim=True)
    trace = f"\n{entry.trace}" if entry.trace else ""
    return f"{_time_of_day(entry)} {label} {message}{details}{trace}"


def last_entries(logs: Mapping[str, Path], most_bytes: int = TAIL_BYTES) -> list[LogEntry]:
    """The entries in the last bytes of each service's file, the oldest first; a file may be missing."""
    found: list[tuple[str, LogEntry]] = []
    for name, log in logs.items():
        time = ""
        for line in _tail(log, most_bytes):
            entry = read_entry(name, line)
            time = entry.time or time  # a line without a time belongs to the one before it
            found.append((time, entry))
    return [entry for _, entry in sorted(found, key=lambda each: each[0])]


def _tail(log: Path, most_bytes: int) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - most_bytes))
        lines = file.read().decode(errors="replace").splitlines()
    whole = lines[1:] if size > most_bytes else lines
    return [line for line in whole if not is_idle(line)]


def _is_shown(field: str) -> bool:
    return field not in _SPECIAL_FIELDS and not field.startswith(_CLOUD_FIELDS)


def _fields(line: str) -> Mapping[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and "message" in fields else None


def _time_of_day(entry: LogEntry) -> str:
    """HH:MM:SS of an RFC 3339 time, in its own time zone (the services use UTC)."""
    return entry.time[11:19].rjust(8)


class LogFollower:
    """Passes on each line that is appended to some files, until it is stopped; the files need not exist yet."""

    def __init__(self, logs: Mapping[str, Path], show: Callable[[str, str], None]) -> None:
        """`logs` maps a name to its file; `show` gets the name and the line."""
        self._logs = logs
        self._show = show
        self._read = dict.fromkeys(logs, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Start, with the files' existing lines."""
        self._thread.start()

    def stop(self) -> None:
        """Pass on the remaining lines, and end."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self._hand_on()
        self._hand_on()

    def _hand_on(self) -> None:
        for name, log in self._logs.items():
            for line in self._new_lines(name, log):
                self._show(name, line)

    def _new_lines(self, name: str, log: Path) -> list[str]:
        if not log.exists():
            return []
        with log.open("rb") as file:
            file.seek(self._read[name])
            complete, newline, _ = file.read().rpartition(b"\n")
        self._read[name] += len(complete) + len(newline)
        return complete.decode(errors="replace").split("\n") if newline else []

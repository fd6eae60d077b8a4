"""The services' logs, for people: one short line per entry."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

_COLOURS = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
#: The fields that the line shows in another form, or not at all.
_SPECIAL_FIELDS = {"severity", "message", "time", "logger", "stack_trace", "service", "event"}
#: These are for Cloud Logging, and too long for a line.
_CLOUD_FIELDS = "logging.googleapis.com/"

POLL_SECONDS = 0.1


def compact(service: str, line: str) -> str:
    """One line of a service's log, shortened: the time of day, the service, the message, and the fields that the
    message does not contain.

    A line that is not a JSON object is shown as it is. Colours are ANSI escapes (`click.echo` strips them in a pipe).
    """
    entry = _entry(line)
    label = click.style(f"{service:<10}", bold=True)
    if entry is None:
        return f"{'':8} {label} {line}"
    text = str(entry["message"])
    more = {name: str(value) for name, value in entry.items() if _is_shown(name) and value is not None}
    details = "".join(f" {name}={value}" for name, value in more.items() if value not in text)
    message = click.style(text, fg=_COLOURS.get(str(entry.get("severity"))))
    trace = f"\n{entry['stack_trace']}" if "stack_trace" in entry else ""
    return f"{_time_of_day(entry)} {label} {message}{click.style(details, dim=True)}{trace}"


def _is_shown(field: str) -> bool:
    return field not in _SPECIAL_FIELDS and not field.startswith(_CLOUD_FIELDS)


def _entry(line: str) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "message" in entry else None


def _time_of_day(entry: Mapping[str, Any]) -> str:
    """HH:MM:SS of an RFC 3339 time, in its own time zone (the services use UTC)."""
    return str(entry.get("time", ""))[11:19].rjust(8)


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

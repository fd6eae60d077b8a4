"""The logs of the services and of the stack itself: the page at `/logs`, and `/api/logs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from local.logview import LogEntry, last_entries
from local.web import parameters

#: Entries in a list, unless more are asked for.
LISTED = 200
MOST_LISTED = 2000
#: From the mildest on; entries of other severities are taken for INFO.
SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def log_pages(logs: Mapping[str, Path]) -> Blueprint:
    """The page and the API; `logs` are the files, by service."""
    pages = Blueprint("logs", __name__)

    def asked_for() -> list[LogEntry]:
        service, severity, text = (parameters.text(name) for name in ("service", "severity", "query"))
        limit = parameters.whole("limit", LISTED, MOST_LISTED)
        found = (entry for entry in last_entries(logs) if is_wanted(entry, service, severity, text))
        return list(found)[: -limit - 1 : -1]

    @pages.get("/logs")
    def page() -> ResponseReturnValue:
        return render_template(
            "logs.html",
            entries=asked_for(),
            services=list(logs),
            severities=SEVERITIES,
            asked={name: parameters.text(name) for name in ("service", "severity", "query")},
        )

    @pages.get("/api/logs")
    def list_entries() -> ResponseReturnValue:
        return [asdict(entry) for entry in asked_for()]

    return pages


def is_wanted(entry: LogEntry, service: str, severity: str, text: str) -> bool:
    """Whether an entry is of the service, at least as severe, and contains the text; empty means any."""
    return (
        (not service or entry.service == service)
        and (not severity or _rank(entry.severity) >= _rank(severity))
        and text.casefold() in f"{entry.message} {entry.details} {entry.trace}".casefold()
    )


def version(logs: Mapping[str, Path]) -> object:
    """Something that changes when the files grow."""
    return tuple(log.stat().st_size if log.exists() else 0 for log in logs.values())


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("INFO")

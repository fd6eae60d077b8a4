"""Log entries and documents from files: of the services, of Cloud Logging (`--format=json`), of `cli list --json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from cli.log_entries import entries

#: The times in `delivery` and in its history, which JSON has as text.
_TIMES: Final = frozenset(
    {"startTime", "endTime", "leaseExpireTime", "nextAttemptTime", "expireAt", "republishTime", "outageTime"}
)


@dataclass(frozen=True, slots=True)
class Document:
    """A mail document: its path, and its field `delivery` with times as Firestore has them."""

    path: str
    delivery: object


@dataclass(frozen=True, slots=True)
class Record:
    """A log entry about work, or a document, and the line in which it begins."""

    line: int
    found: Mapping[str, Any] | Document


def records(file: TextIO) -> Iterator[Record]:
    """The records among the JSON objects of a file. Raises `cli.log_entries.TooLong`."""
    for line, entry in entries(file):
        match entry:
            case {"jsonPayload": {"event": str()} as logged} | ({"event": str()} as logged):
                yield Record(line, logged)
            case {"document": str(path), "delivery": delivery}:
                yield Record(line, Document(path, _with_times(delivery)))


def _with_times(delivery: Any) -> Any:
    """A `delivery` from JSON, with times where Firestore has them."""
    if not isinstance(delivery, dict):
        return delivery
    history = delivery.get("history")
    attempts = {"history": [_timed(each) for each in history]} if isinstance(history, list) else {}
    return _timed(delivery) | attempts


def _timed(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {name: _time(each) if name in _TIMES else each for name, each in fields.items()}


def _time(value: object) -> object:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return value if time is None else time if time.tzinfo else time.replace(tzinfo=UTC)

"""Log entries and documents from files: of the services, of Cloud Logging (`--format=json`), of `cli list --json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

#: Characters of a line; the longest document in JSON is shorter.
_LONGEST_LINE: Final = 16 * 1024 * 1024

#: The times in `delivery` and in its history, which JSON has as text.
_TIMES: Final = frozenset({"startTime", "endTime", "leaseExpireTime", "nextAttemptTime", "expireAt", "republishTime"})


@dataclass(frozen=True, slots=True)
class Document:
    """A mail document: its path, and its field `delivery` with times as Firestore has them."""

    path: str
    delivery: object


@dataclass(frozen=True, slots=True)
class Record:
    """What was found in a line: a log entry about work, a document, or None if it is neither."""

    line: int
    found: Mapping[str, Any] | Document | None


def records(file: TextIO) -> Iterator[Record]:
    """The records of a file with a JSON object per line, or with one array of them.

    Of an array, the line is the number of the element. Raises `ValueError` for an array that is not JSON, and for a
    line that is too long.
    """
    first, lines = True, enumerate(_lines(file), start=1)
    for number, line in lines:
        if first and line.lstrip().startswith("["):
            yield from _of_array(line + "".join(rest for _, rest in lines))
            return
        first = first and not line.strip()
        if line.strip():
            yield _record(number, _object(line))


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line has more than {_LONGEST_LINE:,} characters")
        yield line


def _of_array(text: str) -> Iterable[Record]:
    try:
        elements = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return (_record(number, element) for number, element in enumerate(elements, start=1))


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _record(line: int, found: Any) -> Record:
    match found:
        case {"jsonPayload": {"event": str()} as entry} | ({"event": str()} as entry):
            return Record(line, entry)
        case {"document": str(path), "delivery": delivery}:
            return Record(line, Document(path, _with_times(delivery)))
    return Record(line, None)


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

"""`delivery.history`: the last attempts at a mail, oldest first. Pure.

An attempt gets its entry in the write that ends it, so the history costs no write. The attempt that is running has none
yet. Like all of `delivery`, the history is input: entries are read with known keys, types and lengths only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

#: One attempt as it is stored: the keys of `ended`.
Entry = Mapping[str, Any]

#: The number of attempts that are kept.
MOST_ENTRIES: Final = 20

#: Characters of each text; that of `response` is the longest that is of use.
_LENGTHS: Final[Mapping[str, int]] = {
    "state": 50,
    "errorCode": 50,
    "transport": 100,
    "messageId": 500,
    "response": 500,
}


def ended(
    attempt: int,
    start: datetime | None,
    end: datetime,
    state: str,
    error_code: str | None,
    transport: str | None = None,
    message_id: str | None = None,
    response: str | None = None,
) -> Entry:
    """The entry of an attempt from `start` (None: not known) to `end`, both in UTC.

    `state` is what it left the mail in. `response` is the mail server's answer, or the error if there was none; it is
    cut at 500 characters. `transport` and `message_id` are None if no mail was composed.
    """
    texts = {
        "state": state,
        "errorCode": error_code,
        "transport": transport,
        "messageId": message_id,
        "response": response,
    }
    return {"attempt": attempt, "startTime": start, "endTime": end, **_cut(texts)}


def recorded(history: Sequence[Entry], entry: Entry) -> list[Entry]:
    """The history with this entry as its last; it replaces an earlier guess about the same attempt."""
    others = [each for each in history if each["attempt"] != entry["attempt"]]
    return [*others, entry][-MOST_ENTRIES:]


def without_responses(history: Sequence[Entry]) -> list[Entry]:
    """The history without what mail servers said, which may quote the mail (redaction)."""
    return [{**entry, "response": None} for entry in history]


def entries(value: object) -> tuple[Entry, ...]:
    """Read the decoded field `history`, by whoever it was written; of what is no entry, nothing is kept."""
    if not isinstance(value, list):
        return ()
    return tuple(
        {
            "attempt": each["attempt"],
            "startTime": _time(each.get("startTime")),
            "endTime": _time(each.get("endTime")),
            **_cut(each),
        }
        for each in value[-MOST_ENTRIES:]
        if isinstance(each, Mapping) and type(each.get("attempt")) is int
    )


def start_of(lease_end: datetime, lease: timedelta, now: datetime) -> datetime:
    """When the attempt began whose lease of this length ends at `lease_end`, which may be forged: at most `now`."""
    return min(max(lease_end, datetime.min.replace(tzinfo=UTC) + lease) - lease, now)


def _cut(texts: Mapping[str, object]) -> dict[str, str | None]:
    return {
        name: text[:length] if isinstance(text := texts.get(name), str) else None for name, length in _LENGTHS.items()
    }


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None

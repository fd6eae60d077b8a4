"""Parses points in time written by applications, and rejects ambiguous ones."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

#: The expectation in error texts.
EXPECTED: Final = "a timestamp, or a text with a time zone such as '2026-01-31T09:00:00Z'"

# ISO 8601 with date, time and zone; `fromisoformat` alone would accept other separators between date and time.
_ISO_8601 = re.compile(r"[0-9W-]{7,10}[Tt ][0-9:.,]{2,30}(?:[Zz]|[+-][0-9:]{2,8})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The type that JavaScript's SDKs have added since 2025 (`Timestamp.toJSON`).
_JSON_TYPE = "firestore/timestamp/1.0"


def point_in_time(value: object) -> datetime | None:
    """The time (aware, UTC) that a decoded value unambiguously represents; otherwise None.

    Accepted are Firestore timestamps, ISO 8601 texts with a time zone, and the SDKs' Timestamps in JSON:
    `{seconds, nanoseconds}` (https://firebase.google.com/docs/reference/js/firestore_.timestamp) or, from Node's Admin
    SDK, `{_seconds, _nanoseconds}`.
    """
    try:
        match value:
            case datetime():
                return value.astimezone(UTC) if value.tzinfo else None
            case str() if _ISO_8601.fullmatch(value):
                return datetime.fromisoformat(value.upper()).astimezone(UTC)
            case {"seconds": seconds, "nanoseconds": nanos, **rest} if rest in ({}, {"type": _JSON_TYPE}):
                return _since_epoch(seconds, nanos)
            case {"_seconds": seconds, "_nanoseconds": nanos, **rest} if not rest:
                return _since_epoch(seconds, nanos)
    except (ValueError, OverflowError):  # an invalid date, or one outside the supported range
        pass
    return None


def _since_epoch(seconds: object, nanos: object) -> datetime | None:
    if type(seconds) is int and type(nanos) is int and 0 <= nanos < 1_000_000_000:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    return None

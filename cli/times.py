"""Points in time as people enter and read them. Pure; all times are aware, and UTC unless stated otherwise."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: The minimum age in seconds for each unit.
_STEPS = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "min"), (0, 1, "s"))


def parse_duration(text: str) -> timedelta | None:
    """`90s`, `10m`, `2h`, `3d` or `1w`; None for anything else. Raises `OverflowError` if it is too long."""
    match = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def past(text: str, now: datetime) -> datetime:
    """A duration before `now`, or an ISO 8601 time. Raises `ValueError` with a human-readable text."""
    return _moment(text, now, -1)


def future(text: str, now: datetime) -> datetime:
    """A duration after `now`, or an ISO 8601 time. Raises `ValueError` with a human-readable text."""
    return _moment(text, now, 1)


def _moment(text: str, now: datetime, sign: int) -> datetime:
    try:
        duration = parse_duration(text)
        if duration is not None:
            return now + sign * duration
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is neither a duration such as 2h or 3d nor a time such as 2026-01-31T09:00Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def rfc3339(time: datetime) -> str:
    """`2026-01-31T09:00:00Z`, with microseconds if there are any."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def with_age(time: datetime, now: datetime) -> str:
    """`2026-01-31 09:00:00Z (3 h ago)`, or `(in 3 h)`."""
    age = brief((now - time).total_seconds())
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z ({f'{age} ago' if time <= now else f'in {age}'})"


def brief(seconds: float) -> str:
    """A time span in its largest fitting unit: `3 h`; the sign is ignored."""
    seconds = abs(seconds)
    size, unit = next((size, unit) for least, size, unit in _STEPS if seconds >= least)
    return f"{seconds // size:.0f} {unit}"

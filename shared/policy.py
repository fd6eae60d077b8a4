"""How long things last: leases, expiry, and what an expired lease becomes. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class LeaseExpiryPolicy(StrEnum):
    """What becomes of a mail whose sender vanished: `error` is at most once, `retry` at least once."""

    ERROR = "error"
    RETRY = "retry"


class TtlUnit(StrEnum):
    """Trigger Email's `TTL_EXPIRE_TYPE`, without its `never`."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a document is kept after its first attempt or queueing began."""

    value: int
    unit: TtlUnit

    def expire_at(self, start: datetime) -> datetime:
        """`start` plus the time to live, counted as Trigger Email does.

        Months and years are calendar ones, and a day that the target month lacks runs over into the next month
        (JavaScript's `Date.setMonth`: 31 January plus a month is 2 or 3 March).
        """
        match self.unit:
            case TtlUnit.HOUR:
                return start + timedelta(hours=self.value)
            case TtlUnit.DAY:
                return start + timedelta(days=self.value)
            case TtlUnit.WEEK:
                return start + timedelta(weeks=self.value)
            case TtlUnit.MONTH:
                return _add_months(start, self.value)
            case TtlUnit.YEAR:
                return _add_months(start, 12 * self.value)


def _add_months(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    first = start.replace(year=start.year + years, month=month + 1, day=1)
    return first + timedelta(days=start.day - 1)


@dataclass(frozen=True, slots=True)
class Policy:
    """The choices an operator has made about attempts."""

    lease: timedelta
    lease_expiry: LeaseExpiryPolicy = LeaseExpiryPolicy.ERROR
    ttl: Ttl | None = None

"""How long things last: leases, expiry, back-off, and what happens to an expired lease. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.errors import ErrorCode

#: The longest lease that an operator may set, in seconds (LEASE_SECONDS).
LONGEST_LEASE_SECONDS: Final = 540

#: How often a mail is tried again whose sender vanished before it began to send, beyond MAX_ATTEMPTS: something in the
#: mail may be what kills each sender.
UNSENT_RETRIES: Final = 5

#: The longest pause that is granted to a mail server that asks for one; the back-off may be longer.
LONGEST_RETRY_AFTER: Final = timedelta(days=1)

#: The longest pause between two attempts at a mail whose server is out: it is sent that soon after the outage.
LONGEST_OUTAGE_PAUSE: Final = timedelta(minutes=10)

#: What may pass by itself. Anything else, such as a refused login, waits only for a twelfth of the patience: somebody
#: has to mend it.
_PASSING: Final = frozenset({ErrorCode.CONNECTION, ErrorCode.TEMPORARY, ErrorCode.THROTTLED})
_PART: Final = 12


class LeaseExpiryPolicy(StrEnum):
    """What happens to a mail whose sender vanished.

    `error` means at most once, `retry` at least once. `retry-unsent` means at most once, too: a sender notes when it
    begins to hand a mail over, and a mail whose sender vanished before that is tried again.
    """

    ERROR = "error"
    RETRY_UNSENT = "retry-unsent"
    RETRY = "retry"


class TtlUnit(StrEnum):
    """Trigger Email's `TTL_EXPIRE_TYPE`, without `never`."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a document is kept after it was queued or its first attempt began."""

    value: int
    unit: TtlUnit

    def expire_at(self, start: datetime) -> datetime:
        """`start` plus the time to live, calculated as Trigger Email does.

        Months and years are calendar ones; a day that the target month lacks overflows into the next month
        (JavaScript's `Date.setMonth`: 31 January plus a month is 2 or 3 March). The last year is 9999, Firestore's.
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
            case TtlUnit.YEAR:  # pragma: no branch (no unit is left, says mypy)
                return _add_months(start, 12 * self.value)


def _add_months(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    first = start.replace(year=min(start.year + years, MAXYEAR), month=month + 1, day=1)
    return first + timedelta(days=start.day - 1)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a mail waits before another attempt: exponential back-off with full jitter.

    Full jitter (anything from zero to the whole interval) spreads the mails that one outage failed together better than
    any fixed fraction does: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=1)

    def delay(self, attempt: int, jitter: float) -> timedelta:
        """The pause after attempt number `attempt` has failed; `jitter` is random, from 0 to 1.

        It is at least a second, so that there always is a pause.
        """
        interval = min(self.first * float(2 ** min(attempt - 1, 30)), self.longest)
        return max(interval * jitter, timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's settings for attempts.

    `max_attempts` counts all attempts at a document, including those that users requested; after that, nothing is
    retried automatically. `stranded_after` is how long a queued document may remain unchanged before another message is
    published for it. `outage_patience` is how long a mail waits for a server that is out; zero: the attempt fails.
    """

    lease: timedelta
    max_attempts: int = 1
    lease_expiry: LeaseExpiryPolicy = LeaseExpiryPolicy.ERROR
    ttl: Ttl | None = None
    back_off: BackOff = BackOff()
    stranded_after: timedelta = timedelta(minutes=15)
    outage_patience: timedelta = timedelta(hours=1)

    @property
    def longest_pause(self) -> timedelta:
        """The longest time ahead for which the next attempt is ever scheduled, unless `sendAt` asks for more."""
        return max(self.back_off.longest, LONGEST_RETRY_AFTER)

    @property
    def longest_outage_pause(self) -> timedelta:
        """The longest pause between two attempts at a mail whose server is out, unless the server asks for more."""
        return min(self.back_off.longest, LONGEST_OUTAGE_PAUSE)

    def outage_pause(self, code: ErrorCode, since: datetime, now: datetime, wanted: timedelta) -> timedelta | None:
        """How long a mail waits that has waited since `since` for a server whose outage has this code.

        None: it has waited long enough. Pauses grow with the time waited, so that a long outage costs few writes; they
        are at least `wanted`, and don't exceed the patience.
        """
        patience = self.outage_patience if code in _PASSING else self.outage_patience / _PART
        waited = now - since
        if waited >= patience:
            return None
        pause = min(max(waited, self.back_off.first), self.longest_outage_pause)
        return min(max(pause, wanted), patience - waited)

    def outage_since(self, noted: datetime | None, now: datetime) -> datetime:
        """When a mail began to wait for a server that is out; `noted` is what its document says.

        It has just begun if there is no note, or one that no waiting mail can have: in the future, or long ago.
        """
        return noted if noted is not None and timedelta() <= now - noted <= 2 * self.outage_patience else now

    @property
    def notes_sending(self) -> bool:
        """Whether a sender notes when it begins to hand a mail over."""
        return self.lease_expiry is LeaseExpiryPolicy.RETRY_UNSENT

    def retries_unsent(self, attempts: int) -> bool:
        """Whether a mail is tried again whose sender vanished in this attempt, before it began to send."""
        return self.notes_sending and attempts < self.max_attempts + UNSENT_RETRIES

    def retries_unknown(self, attempts: int) -> bool:
        """Whether a mail is sent again if its outcome is unknown after this many attempts."""
        return self.lease_expiry is LeaseExpiryPolicy.RETRY and attempts < self.max_attempts

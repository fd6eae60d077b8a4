"""The state machine's data types: what is known about a document, and what is decided about it.

The transitions are in `shared.delivery.machine`. Whoever may write a document may write `delivery`, so it is input like
any other field: `Delivery` reads it, and believes nothing that Firepost can't have written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.delivery.history import Entry, entries
from shared.delivery.lanes import Traits
from shared.delivery.policy import LONGEST_LEASE_SECONDS
from shared.delivery.times import point_in_time
from shared.errors import ErrorCode


class State(StrEnum):
    """The values of `delivery.state`."""

    PENDING = "PENDING"
    RETRY = "RETRY"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


_STATES: Final[Mapping[str, State]] = {state.value: state for state in State}

#: Attempts are counted up to this number. It leaves a forged counter room for none of Firestore's limits.
MOST_ATTEMPTS: Final = 1_000_000

#: The longest `error` and `response`, in characters.
MAX_TEXT: Final = 2_000

#: No lease ends later than this after it was written. The margin is for clocks that differ between machines.
_LONGEST_LEASE: Final = timedelta(seconds=LONGEST_LEASE_SECONDS + 10)

#: Characters of `errorCode`; real ones are one short word.
_LONGEST_CODE: Final = 50


class Reason(StrEnum):
    """Why a decision was made: one word, used as log field, metric label and test expectation."""

    NEW = "new"
    REQUEUED = "requeued"
    SCHEDULED = "scheduled"
    NOT_DUE = "not-due"
    OWN_WRITE = "own-write"
    STILL_QUEUED = "still-queued"
    PROCESSING = "processing"
    FINAL_STATE = "final-state"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INVALID = "invalid"
    DELETED = "deleted"
    UNKNOWN_STATE = "unknown-state"
    LEASE_EXPIRED = "lease-expired"
    LEASE_HELD = "lease-held"
    CLAIMED = "claimed"
    FINISHED = "finished"
    LATE_RESULT = "late-result"
    OUTDATED = "outdated"
    RELEASED = "released"
    BUSY = "busy"
    OTHER_LANE = "other-lane"
    DUE = "due"
    STRANDED = "stranded"
    UNSCHEDULED = "unscheduled"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEAD_LETTER = "dead-letter"


class Delete(StrEnum):
    """The value of a change that removes the field."""

    DELETE = "delete"


DELETE: Final = Delete.DELETE

#: The fields of a document that decisions depend on, beside `delivery`: points in time.
DECIDING_TIMES: Final = ("sendAt", "expiresAt")

#: The fields of `delivery` that decisions depend on: those of `Delivery`, except `history`.
DECIDING_DELIVERY_FIELDS: Final = (
    "state",
    "attempts",
    "startTime",
    "endTime",
    "leaseExpireTime",
    "nextAttemptTime",
    "expireAt",
    "errorCode",
    "resumes",
    "unsentLease",
    "outageTime",
)

#: Field paths (`delivery.state`) and their new values, written in one conditional update.
Changes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lease:
    """The exclusive right to make one attempt, until `expires` (UTC). No two attempts at a document share a lease."""

    attempt: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """The decoded `delivery` field. `state` is None if this version does not know the state.

    `resumes`: the next attempt leaves out recipients that an earlier one has settled, perhaps reached. `unsent_lease`
    is the end of the lease under which nothing has been sent yet. `outage_time` is since when the mail waits for a
    server that is out. `attempts` is at most `MOST_ATTEMPTS`. Times may be any: `leased`, `DocumentState.due` and
    `Policy.outage_since` judge them. No decision depends on `history`; it is known wherever an attempt may be added to
    it.
    """

    state: State | None
    attempts: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    lease_expire_time: datetime | None = None
    next_attempt_time: datetime | None = None
    expire_at: datetime | None = None
    error_code: str | None = None
    resumes: bool = False
    unsent_lease: datetime | None = None
    outage_time: datetime | None = None
    history: tuple[Entry, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, value: object) -> Delivery:
        """Read the decoded field, by Firepost, the extension or anyone else.

        What has a wrong type counts as absent, numbers out of range as the nearest one in range.
        """
        fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        state, attempts, code = fields.get("state"), fields.get("attempts"), fields.get("errorCode")
        return cls(
            state=_STATES.get(state) if isinstance(state, str) else None,
            attempts=max(0, min(attempts, MOST_ATTEMPTS)) if type(attempts) is int else 0,
            start_time=_time(fields.get("startTime")),
            end_time=_time(fields.get("endTime")),
            lease_expire_time=_time(fields.get("leaseExpireTime")),
            next_attempt_time=_time(fields.get("nextAttemptTime")),
            expire_at=_time(fields.get("expireAt")),
            error_code=code if isinstance(code, str) and len(code) <= _LONGEST_CODE else None,
            resumes=fields.get("resumes") is True,
            unsent_lease=_time(fields.get("unsentLease")),
            outage_time=_time(fields.get("outageTime")),
            history=entries(fields.get("history")),
        )

    @property
    def surely_unsent(self) -> bool:
        """Whether the holder of the lease has not begun to hand the mail over, and can't begin without a write."""
        return self.unsent_lease is not None and self.unsent_lease == self.lease_expire_time

    def leased(self, now: datetime) -> bool:
        """Whether a lease is still live. One that ends later than any that Firepost writes is nobody's."""
        return self.lease_expire_time is not None and now < self.lease_expire_time <= now + _LONGEST_LEASE

    def has_times_of(self, changes: Changes) -> bool:
        """Whether the document already has the times that a result's `changes` set."""
        if "delivery.endTime" in changes:
            return bool(self.end_time == changes["delivery.endTime"])
        return bool(self.next_attempt_time == changes["delivery.nextAttemptTime"])

    def holds(self, lease: Lease) -> bool:
        """Whether the document holds exactly this lease."""
        return (self.attempts, self.lease_expire_time) == (lease.attempt, lease.expires)


@dataclass(frozen=True, slots=True)
class DocumentState:
    """Everything that decisions need to know about an existing document; None stands for one that does not exist.

    No decision depends on `traits`; they choose the lane of a message.
    """

    delivery: Delivery | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    traits: Traits = field(default=Traits(), compare=False)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DocumentState:
        """Read a decoded document; only `delivery`, `DECIDING_TIMES` and what `Traits` reads matter.

        A `delivery` without a word as its `state` counts as absent: the mail is new. An unreadable `sendAt` or
        `expiresAt` delays and ends nothing here: the attempt begins and ends with an error about it
        (`sender.document.document`).
        """
        send_at, expires_at = (point_in_time(fields.get(name)) for name in DECIDING_TIMES)
        traits = Traits.of(fields)
        match fields.get("delivery"):
            case {"state": str(word)} as delivery if word and type(word) in (str, State):  # no `Reference`
                return cls(Delivery.of(delivery), send_at, expires_at, traits)
        return cls(None, send_at, expires_at, traits)

    @property
    def never_due(self) -> bool:
        """Whether the mail expires before it may be sent."""
        return self.send_at is not None and self.expires_at is not None and self.send_at >= self.expires_at

    def expired(self, now: datetime) -> bool:
        """Whether the mail may not be sent any more."""
        return self.expires_at is not None and self.expires_at <= now

    def due(self, now: datetime, longest_pause: timedelta) -> datetime | None:
        """The time for which the document waits: when the next attempt may begin, or when the mail expires.

        None means that it waits for nothing.
        `nextAttemptTime` counts up to `sendAt`, or else up to `longest_pause` from `now`: Firepost schedules nothing
        beyond that, so a later time is not Firepost's, and would only keep the document from ending.
        """
        scheduled = self.delivery.next_attempt_time if self.delivery else None
        if scheduled is not None and scheduled > max(now + longest_pause, self.send_at or now):
            scheduled = None
        times = [time for time in (self.send_at, scheduled) if time is not None]
        if not times:
            return None
        return max(times) if self.expires_at is None else min(max(times), self.expires_at)

    def due_later(self, now: datetime, longest_pause: timedelta) -> bool:
        """Whether the document must wait."""
        due = self.due(now, longest_pause)
        return due is not None and due > now

    def waiting_since(self, now: datetime) -> datetime:
        """Since when the mail could have been sent, which is its age, or `now`.

        That is when it was queued, its `sendAt`, or the end after which a user asked for it again.
        """
        delivery = self.delivery
        times = (delivery.start_time, delivery.end_time, self.send_at) if delivery else (self.send_at,)
        return min(now, max((time for time in times if time is not None), default=now))


def state_of(known: DocumentState | None) -> State | None:
    """The state of a document; None if it does not exist, has no state, or has one that this version does not know."""
    return known.delivery.state if known and known.delivery else None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one attempt, ready to be written: SUCCESS with `info`, or ERROR with a text and its code.

    `unsettled`: another attempt may reach recipients that this one did not. `progress` is then the `info` about the
    settled recipients, which that attempt must skip; None if there are none. `retry_after` is the pause in seconds that
    the mail server asked for; None leaves it to the back-off. `retained` are changes to the mail's content after
    success (retention). `outage`: the mail server was out. `transport`, `message_id` and `response` (the server's
    answer, or the error) are for the history.
    """

    state: State
    info: Mapping[str, Any] | None = None
    error: str | None = None
    error_code: ErrorCode | None = None
    warnings: tuple[str, ...] = ()
    unsettled: bool = False
    progress: Mapping[str, Any] | None = None
    retry_after: float | None = None
    retained: Changes = field(default_factory=dict)
    outage: bool = False
    transport: str | None = None
    message_id: str | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, as data: publish first, then write, then acknowledge (or not).

    `write` applies only if the document is still as it was known. `lease` is the attempt that begins with it. `known`
    is the document that it was made about, if whoever has read that says so.
    """

    reason: Reason
    write: Changes | None = None
    publish: bool = False
    lease: Lease | None = None
    acknowledge: bool = True
    known: DocumentState | None = field(default=None, compare=False)


QUEUED: Final = (State.PENDING, State.RETRY)
#: An attempt is to come, or under way.
UNFINISHED: Final = (*QUEUED, State.PROCESSING)
#: What becomes of an attempt.
FINAL: Final = (State.SUCCESS, State.ERROR)
#: Firepost does nothing about the document until a user sets PENDING or RETRY.
AT_REST: Final = (*FINAL, State.CANCELLED)


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None

"""The words in which the state machine speaks: what is known of a document, and what is decided about it.

The transitions are in `shared.delivery.machine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from shared.errors import ErrorCode


class State(StrEnum):
    """What `delivery.state` may say."""

    PENDING = "PENDING"
    RETRY = "RETRY"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"


_STATES: Final[Mapping[str, State]] = {state.value: state for state in State}


class Reason(StrEnum):
    """Why a decision was taken: one word that is the log field, the metric label and the tests' expectation."""

    NEW = "new"
    REQUEUED = "requeued"
    SCHEDULED = "scheduled"
    NOT_DUE = "not-due"
    OWN_WRITE = "own-write"
    STILL_QUEUED = "still-queued"
    PROCESSING = "processing"
    FINAL_STATE = "final-state"
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
    DUE = "due"
    STRANDED = "stranded"
    DEAD_LETTER = "dead-letter"


class Delete(StrEnum):
    """A change's value that removes the field."""

    DELETE = "delete"


DELETE: Final = Delete.DELETE

#: The fields of a document that decisions look at.
DECIDING_FIELDS: Final = ("delivery", "sendAt")

#: The fields of `delivery` that decisions look at: what `Delivery` is made of.
DECIDING_DELIVERY_FIELDS: Final = (
    "state",
    "attempts",
    "startTime",
    "endTime",
    "leaseExpireTime",
    "nextAttemptTime",
    "republishTime",
    "expireAt",
    "errorCode",
)

#: Field paths (`delivery.state`) and their new values; what a store writes in one conditional update.
Changes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make one attempt, until `expires` (UTC). No two attempts at a document share a lease."""

    attempt: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the `delivery` field says. `state` is None when it says something this version does not know."""

    state: State | None
    attempts: int = 0
    start_time: datetime | None = None
    end_time: datetime | None = None
    lease_expire_time: datetime | None = None
    next_attempt_time: datetime | None = None
    republish_time: datetime | None = None
    expire_at: datetime | None = None
    error_code: str | None = None

    @classmethod
    def of(cls, value: object) -> Delivery:
        """Read the decoded field, written by us, by the extension or by anyone; wrong types count as absent."""
        fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        state, attempts, code = fields.get("state"), fields.get("attempts"), fields.get("errorCode")
        return cls(
            state=_STATES.get(state) if isinstance(state, str) else None,
            attempts=attempts if isinstance(attempts, int) and attempts > 0 else 0,
            start_time=_time(fields.get("startTime")),
            end_time=_time(fields.get("endTime")),
            lease_expire_time=_time(fields.get("leaseExpireTime")),
            next_attempt_time=_time(fields.get("nextAttemptTime")),
            republish_time=_time(fields.get("republishTime")),
            expire_at=_time(fields.get("expireAt")),
            error_code=code if isinstance(code, str) else None,
        )

    def leased(self, now: datetime) -> bool:
        """Whether someone's lease still runs."""
        return self.lease_expire_time is not None and self.lease_expire_time > now

    def bears(self, changes: Changes) -> bool:
        """Whether the times that a result's `changes` set are the ones that stand here."""
        if "delivery.endTime" in changes:
            return bool(self.end_time == changes["delivery.endTime"])
        return bool(self.next_attempt_time == changes["delivery.nextAttemptTime"])

    def holds(self, lease: Lease) -> bool:
        """Whether the lease that stands here is `lease`."""
        return (self.attempts, self.lease_expire_time) == (lease.attempt, lease.expires)


@dataclass(frozen=True, slots=True)
class DocumentState:
    """All that decisions need to know of a document that exists; one that does not is None."""

    delivery: Delivery | None = None
    send_at: datetime | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> DocumentState:
        """Read a decoded document; only `delivery` and `sendAt` are looked at.

        What JavaScript takes for false is no delivery, as in Trigger Email.
        """
        delivery = fields.get("delivery")
        is_absent = delivery is None or (isinstance(delivery, int | float | str) and not delivery)
        return cls(None if is_absent else Delivery.of(delivery), _time(fields.get("sendAt")))

    def due(self) -> datetime | None:
        """The earliest time the next attempt may begin; None for at once."""
        scheduled = self.delivery.next_attempt_time if self.delivery else None
        times = [time for time in (self.send_at, scheduled) if time is not None]
        return max(times, default=None)

    def due_later(self, now: datetime) -> bool:
        """Whether the next attempt must wait."""
        due = self.due()
        return due is not None and due > now


def state_of(known: DocumentState | None) -> State | None:
    """The state in which a document is; None where it does not exist, or has none that this version knows."""
    return known.delivery.state if known and known.delivery else None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt, ready to be written: SUCCESS with `info`, or ERROR with a text and its code.

    `unsettled` says that another attempt may reach someone whom this one did not. `progress` is then the `info` of
    those who are settled, whom that attempt must leave out; None if there are none. `retry_after` is in how many
    seconds the mail server wants to be asked again; None leaves that to the back-off. `keeping` are changes to what the
    document keeps of a mail that has been sent for good.
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


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, as data: publish first, then write, then (not) acknowledge.

    `write` is conditional on the document being as it was known. `lease` is the attempt that begins with it.
    """

    reason: Reason
    write: Changes | None = None
    publish: bool = False
    lease: Lease | None = None
    acknowledge: bool = True


QUEUED: Final = (State.PENDING, State.RETRY)
FINAL: Final = (State.SUCCESS, State.ERROR)


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None

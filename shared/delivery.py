"""The state machine of one mail: from what is known to a decision. No I/O, and `now` is always an argument.

States, as they stand in `delivery.state`:

    state       means                                          left by
    (none)      just written                                   dispatcher → PENDING, or sender → PROCESSING
    PENDING     queued                                         sender's claim → PROCESSING
    RETRY       a user (or back-off) wants another attempt     sender's claim → PROCESSING
    PROCESSING  one sender holds the lease                     the holder → SUCCESS / ERROR / back to PENDING;
                                                               lease expiry → ERROR
    SUCCESS     accepted for at least one recipient            only a user, by PENDING or RETRY
    ERROR       not sent, or outcome unknown                   only a user, by PENDING or RETRY

`on_event`, what the dispatcher does about a document event (first row that fits):

    new document               old document           decision
    deleted                    any                    ignore (deleted)
    no delivery, due           any                    publish, then write PENDING (new)
    no delivery, due later     any                    write PENDING with nextAttemptTime (scheduled)
    a state it does not know   any                    ignore (unknown-state)
    PROCESSING, lease expired  any                    write ERROR (lease-expired); policy retry: publish
    PROCESSING                 any                    ignore (processing)
    SUCCESS or ERROR           any                    ignore (final-state)
    PENDING                    without delivery       ignore (own-write)
    PENDING or RETRY           same state             ignore (still-queued)
    … due later, so noted      anything else          ignore (not-due)
    … due later                anything else          write PENDING with nextAttemptTime (scheduled)
    PENDING or RETRY           anything else          publish (requeued)

`on_message`, what a sender does about a message for a document (first row that fits):

    document                                      decision
    deleted                                       acknowledge (deleted)
    a state it does not know                      acknowledge (unknown-state)
    SUCCESS or ERROR                              acknowledge (final-state)
    PROCESSING, the lease this sender wrote       go on with the attempt (claimed)
    PROCESSING, lease live                        don't acknowledge (lease-held)
    PROCESSING, lease expired, policy error       write ERROR, acknowledge (lease-expired)
    PROCESSING, lease expired, policy retry       claim (claimed)
    none, PENDING or RETRY, due later             acknowledge (not-due)
    PENDING or RETRY over a lease still live      don't acknowledge (lease-held)
    none, PENDING or RETRY                        claim (claimed)

`on_result`, what the holder of a lease may write when its attempt has ended (first row that fits):

    document                                      decision
    deleted                                       nothing (deleted)
    PROCESSING, same lease                        write the result (finished)
    ERROR by lease expiry, same attempt           write the result: the truth replaces the guess (late-result)
    PENDING or RETRY, same lease                  end the lease only: the user's wish stands (requeued)
    SUCCESS or ERROR, this very result            nothing: an earlier write's answer was lost (finished)
    anything else                                 nothing: a newer attempt owns the document (outdated)

A lease is the pair (`attempts`, `leaseExpireTime`). A document in PROCESSING without a lease time is held by nobody:
the extension left such documents behind, so it counts as expired.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from shared.errors import ErrorCode
from shared.policy import LeaseExpiryPolicy, Policy, Ttl


class State(StrEnum):
    """What `delivery.state` may say."""

    PENDING = "PENDING"
    RETRY = "RETRY"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"


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


class Delete(StrEnum):
    """A change's value that removes the field."""

    DELETE = "delete"


DELETE: Final = Delete.DELETE

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
    error_code: str | None = None

    @classmethod
    def of(cls, value: object) -> Delivery:
        """Read the decoded field, written by us, by the extension or by anyone; wrong types count as absent."""
        fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        attempts, code = fields.get("attempts"), fields.get("errorCode")
        return cls(
            state=next((state for state in State if state == fields.get("state")), None),
            attempts=attempts if isinstance(attempts, int) and attempts > 0 else 0,
            start_time=_time(fields.get("startTime")),
            end_time=_time(fields.get("endTime")),
            lease_expire_time=_time(fields.get("leaseExpireTime")),
            next_attempt_time=_time(fields.get("nextAttemptTime")),
            error_code=code if isinstance(code, str) else None,
        )

    def leased(self, now: datetime) -> bool:
        """Whether someone's lease still runs."""
        return self.lease_expire_time is not None and self.lease_expire_time > now

    def holds(self, lease: Lease) -> bool:
        """Whether the lease that stands here is `lease`."""
        return (self.attempts, self.lease_expire_time) == (lease.attempt, lease.expires)


@dataclass(frozen=True, slots=True)
class Known:
    """All that decisions need to know of a document that exists; one that does not is None."""

    delivery: Delivery | None = None
    send_at: datetime | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Known:
        """Read a decoded document; only `delivery` and `sendAt` are looked at."""
        delivery = fields.get("delivery")
        return cls(None if delivery is None else Delivery.of(delivery), _time(fields.get("sendAt")))

    def due(self) -> datetime | None:
        """The earliest time the next attempt may begin; None for at once."""
        scheduled = self.delivery.next_attempt_time if self.delivery else None
        times = [time for time in (self.send_at, scheduled) if time is not None]
        return max(times, default=None)

    def due_later(self, now: datetime) -> bool:
        """Whether the next attempt must wait."""
        due = self.due()
        return due is not None and due > now


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt, ready to be written: SUCCESS with `info`, or ERROR with a text and its code."""

    state: State
    info: Mapping[str, Any] | None = None
    error: str | None = None
    error_code: ErrorCode | None = None
    warnings: tuple[str, ...] = ()


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


def on_event(old: Known | None, new: Known | None, now: datetime, policy: Policy) -> Decision:
    """The dispatcher's decision about one document event; see the table above."""
    if new is None:
        return Decision(Reason.DELETED)
    delivery = new.delivery
    if delivery is None:
        pending = _pending(now, policy.ttl)
        if new.due_later(now):
            return Decision(Reason.SCHEDULED, write={"delivery": pending | {"nextAttemptTime": new.due()}})
        return Decision(Reason.NEW, publish=True, write={"delivery": pending})
    match delivery.state:
        case None:
            return Decision(Reason.UNKNOWN_STATE)
        case State.PROCESSING if delivery.leased(now):
            return Decision(Reason.PROCESSING)
        case State.PROCESSING if policy.lease_expiry is LeaseExpiryPolicy.RETRY:
            return Decision(Reason.LEASE_EXPIRED, publish=True)
        case State.PROCESSING:
            return Decision(Reason.LEASE_EXPIRED, write=_lease_expired(now))
        case State.SUCCESS | State.ERROR:
            return Decision(Reason.FINAL_STATE)
        case State.PENDING | State.RETRY:
            return _on_queued_event(old, new, delivery, now)


def _on_queued_event(old: Known | None, new: Known, delivery: Delivery, now: datetime) -> Decision:
    if old is not None and old.delivery is None and delivery.state is State.PENDING:
        return Decision(Reason.OWN_WRITE)
    if old is not None and old.delivery is not None and old.delivery.state is delivery.state:
        return Decision(Reason.STILL_QUEUED)
    if not new.due_later(now):
        return Decision(Reason.REQUEUED, publish=True)
    if delivery.next_attempt_time == new.due():
        return Decision(Reason.NOT_DUE)
    return Decision(
        Reason.SCHEDULED,
        write={"delivery.state": State.PENDING, "delivery.nextAttemptTime": new.due()},
    )


def on_message(known: Known | None, now: datetime, policy: Policy, written: Lease | None = None) -> Decision:
    """A sender's decision about a message for this document; see the table above.

    `written` is the lease this very sender has tried to write without getting an answer.
    """
    if known is None:
        return Decision(Reason.DELETED)
    delivery = known.delivery or Delivery(State.PENDING)
    match delivery.state:
        case None:
            return Decision(Reason.UNKNOWN_STATE)
        case State.SUCCESS | State.ERROR:
            return Decision(Reason.FINAL_STATE)
        case State.PROCESSING if written is not None and delivery.holds(written):
            return Decision(Reason.CLAIMED, lease=written)
        case State.PROCESSING if not delivery.leased(now) and policy.lease_expiry is LeaseExpiryPolicy.ERROR:
            return Decision(Reason.LEASE_EXPIRED, write=_lease_expired(now))
        case State.PENDING | State.RETRY if known.due_later(now):
            return Decision(Reason.NOT_DUE)
    if delivery.leased(now):
        return Decision(Reason.LEASE_HELD, acknowledge=False)
    return _claim(delivery, now, policy)


def _claim(delivery: Delivery, now: datetime, policy: Policy) -> Decision:
    lease = Lease(delivery.attempts + 1, now + policy.lease)
    write: dict[str, Any] = {
        "delivery.state": State.PROCESSING,
        "delivery.attempts": lease.attempt,
        "delivery.leaseExpireTime": lease.expires,
        "delivery.error": None,
        "delivery.errorCode": DELETE,
        "delivery.warnings": DELETE,
        "delivery.nextAttemptTime": DELETE,
    }
    if delivery.start_time is None:
        write["delivery.startTime"] = now
        if policy.ttl:
            write["delivery.expireAt"] = policy.ttl.expire_at(now)
    return Decision(Reason.CLAIMED, write=write, lease=lease)


def on_result(known: Known | None, lease: Lease, result: Result, now: datetime) -> Decision:
    """What the holder of `lease` may still write, once its attempt has ended at `now`; see the table above."""
    if known is None:
        return Decision(Reason.DELETED)
    delivery = known.delivery
    if delivery is None:
        return Decision(Reason.OUTDATED)
    if delivery.holds(lease):
        if delivery.state is State.PROCESSING:
            return Decision(Reason.FINISHED, write=finished(result, now))
        if delivery.state in QUEUED:
            return Decision(Reason.REQUEUED, write={"delivery.endTime": now, "delivery.leaseExpireTime": None})
    if delivery.attempts == lease.attempt and delivery.state in FINAL:
        if delivery.error_code == ErrorCode.LEASE_EXPIRED:
            return Decision(Reason.LATE_RESULT, write=finished(result, now))
        if delivery.end_time == now:
            return Decision(Reason.FINISHED)
    return Decision(Reason.OUTDATED)


def finished(result: Result, now: datetime) -> Changes:
    """The changes that conclude an attempt: Trigger Email's fields, and ours beside them."""
    changes: dict[str, Any] = {
        "delivery.state": result.state,
        "delivery.endTime": now,
        "delivery.error": result.error,
        "delivery.leaseExpireTime": None,
        "delivery.errorCode": result.error_code or DELETE,
        "delivery.warnings": list(result.warnings) or DELETE,
    }
    if result.info is not None:
        changes["delivery.info"] = dict(result.info)
    return changes


def message_id_stem(path: str, created: datetime, delivery: Delivery | None) -> str:
    """The part of a Message-ID before the `@`.

    It is the same for every run of the attempts that follow one concluded attempt, so that a receiver can drop the
    copy which a crash made; and a new one once that attempt was concluded and a user asks for the mail again.
    """
    end_time = delivery.end_time if delivery else None
    text = "\0".join((path, created.isoformat(), end_time.isoformat() if end_time else ""))
    return b32encode(hashlib.sha256(text.encode()).digest()[:20]).decode().lower()


def _pending(now: datetime, ttl: Ttl | None) -> dict[str, Any]:
    pending = {"startTime": now, "state": State.PENDING, "attempts": 0, "error": None}
    return pending | {"expireAt": ttl.expire_at(now)} if ttl else pending


def _lease_expired(now: datetime) -> Changes:
    return finished(
        Result(
            State.ERROR,
            error="Message processing lease expired. Whether the mail was sent is not known.",
            error_code=ErrorCode.LEASE_EXPIRED,
        ),
        now,
    )


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None

"""The state of everything around one mail as a value: the document, what is in flight, and what each process does.

Worlds that behave alike are equal, so that the explorer visits them once: versions are only fresh or stale, the two
interchangeable senders have a fixed order, and events without any possible effect are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from shared.delivery.model import (
    DECIDING_DELIVERY_FIELDS,
    DECIDING_TIMES,
    Changes,
    Delivery,
    DocumentState,
    Lease,
    Result,
    State,
)
from shared.errors import ErrorCode, NotSent, OutcomeUnknown
from tests.fakes import applied

START: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
#: The unit of time: leases and back-offs last one tick, so that every tick matters.
TICK: Final = timedelta(seconds=1)

#: The number of distinct clock readings within one tick; they differ by microseconds.
INSTANTS: Final = 9

#: With this many equal messages in flight, another one makes no difference.
MANY_MESSAGES: Final = 3

#: Documents whose variants are remembered, because they return over and over; and the changes that make variants.
_REMEMBERED: Final = 10_000
_DECIDING: Final = (*DECIDING_TIMES, *(f"delivery.{name}" for name in DECIDING_DELIVERY_FIELDS))


class Answer(Enum):
    """A mail server's answer: whether it accepted the mail, and the result that the sender derives."""

    ACCEPTED = (True, Result(State.SUCCESS, info={}))
    ACCEPTED_UNHEARD = (True, Result(State.ERROR, error="?", error_code=ErrorCode.UNKNOWN, unsettled=True))
    LOST = (False, Result(State.ERROR, error="?", error_code=ErrorCode.UNKNOWN, unsettled=True))
    NOT_NOW = (False, Result(State.ERROR, error="4", error_code=ErrorCode.TEMPORARY, unsettled=True))
    NEVER = (False, Result(State.ERROR, error="5", error_code=ErrorCode.REJECTED))
    #: The sender's own: the mail has expired, and no server was asked.
    TOO_LATE = (False, Result(State.ERROR, error="!", error_code=ErrorCode.EXPIRED))
    #: The server has been out for longer than the mail's patience.
    OUT = (False, Result(State.ERROR, error="!", error_code=ErrorCode.CONNECTION))

    # Members are compared by identity; the results in them are not hashable.
    __hash__ = object.__hash__

    #: Only explored with a second transport: the connection is lost before the content.
    DOWN = (False, Result(State.ERROR, error="!", error_code=ErrorCode.CONNECTION, unsettled=True))

    @property
    def taken(self) -> bool:
        return self.value[0]

    @property
    def failure(self) -> Exception | None:
        """What the transport raises."""
        code = self.result.error_code
        if code is ErrorCode.UNKNOWN:
            return OutcomeUnknown("?")
        return None if code is None else NotSent(code, "!")

    @property
    def result(self) -> Result:
        return self.value[1]


#: What a mail server may answer.
ANSWERS: Final = tuple(answer for answer in Answer if answer not in (Answer.TOO_LATE, Answer.OUT, Answer.DOWN))


class Event(NamedTuple):
    """A document event that has not been acknowledged; `fresh` while no newer version exists."""

    old: DocumentState | None
    new: DocumentState | None
    fresh: bool = True

    @classmethod
    def of(cls, old: DocumentState | None, new: DocumentState | None) -> Event:
        """The event of a write, reduced to what decisions about events depend on."""
        return cls(_outline(old), _deciding(new))


class Asked(NamedTuple):
    """A sender that has a message and has not read the document yet; `written` as in `on_message`."""

    now: datetime
    written: Lease | None = None


class Read(NamedTuple):
    """A sender that has read the document and is about to write its decision."""

    now: datetime
    seen: DocumentState | None
    written: Lease | None
    fresh: bool = True


class Claimed(NamedTuple):
    """A sender that holds a lease, before the mail server's answer.

    `noted`: it may hand the mail over, as the document says so or need not. `began` is when it began to; not recorded
    for a mail that never expires. `first` is what a first transport has answered, after which another one is tried.
    """

    lease: Lease
    noted: bool
    fresh: bool = True
    began: datetime | None = None
    first: Answer | None = None


class Answered(NamedTuple):
    """A sender that has the mail server's answer, or has given up waiting for it, and has not written the result."""

    lease: Lease
    answer: Answer
    ended: datetime
    fresh: bool = True


class Releasing(NamedTuple):
    """A sender that is about to release its claim; `later` is when to try again, if known.

    `since` is since when the mail has waited for a server that is out, if it does.
    """

    lease: Lease
    later: datetime | None
    fresh: bool = True
    since: datetime | None = None


class Handling(NamedTuple):
    """The dispatcher between publishing and writing, as decided about an event at `at`; `paused`: all mail was."""

    event: Event
    at: datetime
    fresh: bool
    paused: bool = False


class Found(NamedTuple):
    """The reconciler with a document that its query found."""

    seen: DocumentState
    fresh: bool = True


class Noting(NamedTuple):
    """The reconciler between publishing and writing, as decided at `at`; `paused`: all mail was."""

    seen: DocumentState
    at: datetime
    fresh: bool
    paused: bool = False


Sender = Asked | Read | Claimed | Answered | Releasing


class Bounds(NamedTuple):
    """How often each kind of failure or interference may still happen; `user_requests` are those after the first.

    `failover` is not spent: 1 if there is another transport to fail over to.
    """

    ticks: int = 0
    crashes: int = 0
    repeats: int = 0
    lost_answers: int = 0
    releases: int = 0
    user_requests: int = 0
    deletions: int = 0
    dead_letters: int = 0
    cancellations: int = 0
    outages: int = 0
    failover: int = 0
    pauses: int = 0


class _World(NamedTuple):
    """The fields of `World`; `paused`: all mail is.

    Five fields only serve the checks: how often a user has asked for the mail (`requests`), how often a mail server
    has accepted it (`accepted`), whether the last request has had no attempt yet (`request_pending`), whether a sender
    has ever noted that it hands the mail over (`noted`), and, while the mail is cancelled, the leases of the attempts
    that had begun before (`running`; None: it is wanted).
    """

    document: DocumentState | None
    left: Bounds
    now: datetime = START
    events: frozenset[Event] = frozenset()
    messages: int = 0
    senders: tuple[Sender | None, ...] = (None, None)
    dispatcher: Handling | None = None
    reconciler: Found | Noting | None = None
    requests: int = 1
    accepted: int = 0
    request_pending: bool = True
    noted: bool = False
    running: frozenset[Lease] | None = None
    paused: bool = False


class World(_World):
    """A state of the exploration. A tuple that knows its hash, because most of the time goes into copies and hashes."""

    def __hash__(self) -> int:
        if "hash" not in self.__dict__:
            self.__dict__["hash"] = super().__hash__()
        found: int = self.__dict__["hash"]
        return found

    def with_sender(self, index: int, sender: Sender | None) -> World:
        """This world with one sender replaced."""
        return self._replace(senders=(*self.senders[:index], sender, *self.senders[index + 1 :]))

    def canonical(self) -> World:
        """An equivalent world with the interchangeable senders in a fixed order."""
        first, second = self.senders
        ordered = self.senders if hash(first) <= hash(second) else (second, first)
        document = self._without_old_times()
        if ordered is self.senders and document is self.document:
            return self
        return self._replace(senders=ordered, document=document)

    def _without_old_times(self) -> DocumentState | None:
        """The document with a constant `endTime`, unless a sender may still compare it with its own."""
        delivery = self.document.delivery if self.document else None
        if self.document is None or delivery is None or delivery.end_time in (None, START):
            return self.document
        if any(isinstance(sender, Answered) for sender in self.senders):
            return self.document
        return _ended(self.document, START)

    def sent_again(self) -> World:
        """This world with one more message."""
        return self._replace(messages=min(self.messages + 1, MANY_MESSAGES))

    def spent(self, kind: str) -> World:
        """This world with one less of a kind of `Bounds` left."""
        return self._replace(left=self.left._replace(**{kind: getattr(self.left, kind) - 1}))

    def an_instant(self) -> datetime:
        """A clock reading of now that differs from every known one, as real readings differ by microseconds."""
        taken = {lease.microsecond for lease in self._instants()}
        return self.now + timedelta(microseconds=next(each for each in range(INSTANTS) if each not in taken))

    def latest(self) -> datetime:
        """The latest possible clock reading of now."""
        return self.now + timedelta(microseconds=INSTANTS)

    def _instants(self) -> list[datetime]:
        delivery = self.document.delivery if self.document else None
        known = [delivery.lease_expire_time] if delivery and delivery.lease_expire_time else []
        for sender in self.senders:
            match sender:
                case Asked(now=now) | Read(now=now):
                    known.append(now)
                case Claimed(lease=lease) | Answered(lease=lease) | Releasing(lease=lease):
                    known.append(lease.expires)
        return known


_Actor = TypeVar("_Actor")


def outdated(actor: _Actor) -> _Actor:
    """The actor after another's write: the version that it knows is stale."""
    return actor._replace(fresh=False) if getattr(actor, "fresh", False) else actor  # type: ignore[attr-defined]


def after(known: DocumentState | None, changes: Changes) -> DocumentState:
    """The document's state after `changes`; the time of its first attempt is a constant, as nothing depends on it."""
    if "delivery" in changes:  # as a whole
        known = replace(known, delivery=None) if known else None
        changes = {f"delivery.{name}": value for name, value in changes["delivery"].items()}
    return _after(known, tuple((path, changes[path]) for path in _DECIDING if path in changes))


@lru_cache(_REMEMBERED)
def _after(known: DocumentState | None, changes: tuple[tuple[str, Any], ...]) -> DocumentState:
    fields = applied(_fields(known) if known else {}, dict(changes))
    delivery = fields.get("delivery", {})
    if delivery.get("startTime") is not None:
        fields["delivery"] = {**delivery, "startTime": START}
    return DocumentState.of(fields)


@lru_cache(_REMEMBERED)
def _ended(known: DocumentState, time: datetime) -> DocumentState:
    return replace(known, delivery=replace(known.delivery, end_time=time)) if known.delivery else known


def _fields(known: DocumentState) -> Mapping[str, Any]:
    fields: dict[str, Any] = {"sendAt": known.send_at, "expiresAt": known.expires_at}
    if known.delivery is not None:
        fields["delivery"] = _delivery_fields(known.delivery)
    return fields


def _delivery_fields(delivery: Delivery) -> Mapping[str, Any]:
    return {
        "state": delivery.state,
        "attempts": delivery.attempts,
        "startTime": delivery.start_time,
        "endTime": delivery.end_time,
        "leaseExpireTime": delivery.lease_expire_time,
        "nextAttemptTime": delivery.next_attempt_time,
        "errorCode": delivery.error_code,
        "outageTime": delivery.outage_time,
        "unsentLease": delivery.unsent_lease if delivery.surely_unsent else None,
    }


@lru_cache(_REMEMBERED)
def _outline(known: DocumentState | None) -> DocumentState | None:
    if known is None or known.delivery is None:
        return known
    return DocumentState(Delivery(known.delivery.state))


@lru_cache(_REMEMBERED)
def _deciding(known: DocumentState | None) -> DocumentState | None:
    if known is None or known.delivery is None:
        return known
    return replace(known, delivery=replace(known.delivery, end_time=None, error_code=None))


def state_of(known: DocumentState | None) -> State | None:
    """The document's `delivery.state`, if any."""
    return known.delivery.state if known and known.delivery else None

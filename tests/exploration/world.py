"""One mail's whole world at one moment, as a value: the document, what is on its way, and where everybody stands.

Two worlds that behave alike are equal, so that the explorer visits them once: versions are only known as fresh or
stale, interchangeable senders stand in one order, and events that can never have an effect are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

from shared.delivery.model import Changes, Delivery, DocumentState, Lease, Result, State
from shared.errors import ErrorCode
from tests.fakes import applied

START: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
#: The unit of time: leases and back-offs last one tick, so that every tick changes what is true.
TICK: Final = timedelta(seconds=1)

#: How many clock readings of one moment are told apart, by microseconds.
INSTANTS: Final = 9

#: Beyond so many equal messages on their way, one more makes no difference.
MANY_MESSAGES: Final = 3


class Answer(Enum):
    """How a mail server may end an attempt: whether it took the mail, and what the sender makes of it."""

    ACCEPTED = (True, Result(State.SUCCESS, info={}))
    ACCEPTED_UNHEARD = (True, Result(State.ERROR, error="?", error_code=ErrorCode.UNKNOWN, unsettled=True))
    LOST = (False, Result(State.ERROR, error="?", error_code=ErrorCode.UNKNOWN, unsettled=True))
    NOT_NOW = (False, Result(State.ERROR, error="4", error_code=ErrorCode.TEMPORARY, unsettled=True))
    NEVER = (False, Result(State.ERROR, error="5", error_code=ErrorCode.REJECTED))

    # Members are told apart by identity; the results in them can't be hashed.
    __hash__ = object.__hash__

    @property
    def taken(self) -> bool:
        return self.value[0]

    @property
    def result(self) -> Result:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Event:
    """A document event that has not been acknowledged; `fresh` while no newer version exists."""

    old: DocumentState | None
    new: DocumentState | None
    fresh: bool = True

    @classmethod
    def of(cls, old: DocumentState | None, new: DocumentState | None) -> Event:
        """The event of a write, without what no decision about events looks at."""
        return cls(_outline(old), _deciding(new))


@dataclass(frozen=True, slots=True)
class Asked:
    """A sender that has a message and has not read the document; `written` as in `on_message`."""

    now: datetime
    written: Lease | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A sender that is about to write what it has decided about the document as it saw it."""

    now: datetime
    seen: DocumentState | None
    written: Lease | None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sender that holds a lease, before the mail server's answer."""

    lease: Lease
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """A sender that has the mail server's answer, or knows that none will come, and has not finished."""

    lease: Lease
    answer: Answer
    ended: datetime
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Releasing:
    """A sender that gives its claim back, `later` being when to try again."""

    lease: Lease
    later: datetime | None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Handling:
    """The dispatcher between the two halves (publish, write) of what it decided about an event at `at`."""

    event: Event
    at: datetime
    fresh: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The reconciler with what its query found."""

    seen: DocumentState
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Noting:
    """The reconciler between the two halves of what it decided at `at`."""

    seen: DocumentState
    at: datetime
    fresh: bool


Sender = Asked | Read | Claimed | Answered | Releasing


@dataclass(frozen=True, slots=True)
class Bounds:
    """How often each kind of trouble may still happen; `wishes` are a user's requests after the first."""

    ticks: int = 0
    crashes: int = 0
    repeats: int = 0
    lost_answers: int = 0
    releases: int = 0
    wishes: int = 0
    deletions: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """The state that the explorer explores. `requests`, `accepted` and `wish` are the books it keeps on the side:

    how often a user asked for the mail, how often a mail server took it, whether the last request still waits for an
    attempt.
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
    wish: bool = True

    def with_sender(self, index: int, sender: Sender | None) -> World:
        """This world with one sender elsewhere."""
        return replace(self, senders=(*self.senders[:index], sender, *self.senders[index + 1 :]))

    def canonical(self) -> World:
        """The same world with its senders in one order: which of them is which does not matter."""
        first, second = self.senders
        ordered = self.senders if hash(first) <= hash(second) else (second, first)
        document = self._without_old_times()
        if ordered is self.senders and document is self.document:
            return self
        return replace(self, senders=ordered, document=document)

    def _without_old_times(self) -> DocumentState | None:
        """The document, its `endTime` a constant unless a sender may still ask whether it is its own."""
        delivery = self.document.delivery if self.document else None
        if self.document is None or delivery is None or delivery.end_time in (None, START):
            return self.document
        if any(isinstance(sender, Answered) for sender in self.senders):
            return self.document
        return replace(self.document, delivery=replace(delivery, end_time=START))

    def sent_again(self) -> World:
        """This world with one more message."""
        return replace(self, messages=min(self.messages + 1, MANY_MESSAGES))

    def spent(self, kind: str) -> World:
        """This world after one of the troubles that `Bounds` counts."""
        return replace(self, left=replace(self.left, **{kind: getattr(self.left, kind) - 1}))

    def an_instant(self) -> datetime:
        """Now, told apart from every lease's instant: no two readings of a clock are the same microsecond."""
        taken = {lease.microsecond for lease in self._instants()}
        return self.now + timedelta(microseconds=next(each for each in range(INSTANTS) if each not in taken))

    def latest(self) -> datetime:
        """The last instant that anybody's clock may read now."""
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
    """Whoever knew the document's version, after somebody else's write."""
    return replace(actor, fresh=False) if getattr(actor, "fresh", False) else actor  # type: ignore[type-var]


def after(known: DocumentState | None, changes: Changes) -> DocumentState:
    """What is known of the document once `changes` are written. When it was first tried is of no consequence."""
    fields = applied(_fields(known) if known else {}, changes)
    result = DocumentState.of(fields)
    if result.delivery is None or result.delivery.start_time is None:
        return result
    return replace(result, delivery=replace(result.delivery, start_time=START))


def _fields(known: DocumentState) -> Mapping[str, Any]:
    fields: dict[str, Any] = {"sendAt": known.send_at}
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
        "republishTime": delivery.republish_time,
        "errorCode": delivery.error_code,
    }


def _outline(known: DocumentState | None) -> DocumentState | None:
    if known is None or known.delivery is None:
        return known
    return DocumentState(Delivery(known.delivery.state))


def _deciding(known: DocumentState | None) -> DocumentState | None:
    if known is None or known.delivery is None:
        return known
    return replace(known, delivery=replace(known.delivery, end_time=None, error_code=None, republish_time=None))


def state_of(known: DocumentState | None) -> State | None:
    """What `delivery.state` says, if there is one."""
    return known.delivery.state if known and known.delivery else None

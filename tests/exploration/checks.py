"""The invariants of every world, stated independently of the state machine's code."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.delivery.model import AT_REST, FINAL, QUEUED, Changes, DocumentState, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import ErrorCode
from tests.exploration.world import Answered, Claimed, World, state_of


class Violation(Exception):
    """An invariant does not hold."""


class Author(StrEnum):
    """The writers of a document, apart from users, who may write anything."""

    DISPATCHER = "dispatcher"
    RECONCILER = "reconciler"
    CLAIM = "claim"
    SENDING = "sending"
    RESULT = "result"
    RELEASE = "release"
    DEAD_LETTER = "dead letter"


_ENDED: Final = (State.PROCESSING, State.ERROR)
_AS_IT_WAS: Final = {(State.PENDING, State.PENDING), (State.RETRY, State.RETRY)}

#: What becomes of a queued mail that has expired, whoever notices it.
EXPIRED: Final = {(state, State.ERROR) for state in (None, *QUEUED)}

#: The transitions that each author may cause. Only a claim may leave a queued state, which a user may have requested,
#: and a dead letter, because nothing else would end it, and whoever finds the mail expired. Nobody cancels.
ALLOWED: Final[dict[Author, set[tuple[State | None, State | None]]]] = {
    Author.DISPATCHER: {(None, State.PENDING), (State.RETRY, State.PENDING)} | _AS_IT_WAS | {_ENDED} | EXPIRED,
    Author.RECONCILER: _AS_IT_WAS | {(state, state) for state in AT_REST} | {_ENDED} | EXPIRED,
    Author.CLAIM: {(state, State.PROCESSING) for state in (None, *QUEUED, State.PROCESSING)}
    | {(None, State.PENDING)}  # instead of a claim, while mail is paused
    | _AS_IT_WAS
    | {_ENDED}
    | EXPIRED,
    Author.SENDING: {(State.PROCESSING, State.PROCESSING)},
    Author.RESULT: {
        (before, after)
        for before in (State.PROCESSING, State.ERROR)
        for after in (State.SUCCESS, State.ERROR, State.RETRY)
    }
    | {(State.CANCELLED, after) for after in FINAL}
    | _AS_IT_WAS,
    Author.RELEASE: {(State.PROCESSING, State.PENDING), (State.CANCELLED, State.CANCELLED)} | _AS_IT_WAS,
    Author.DEAD_LETTER: {(None, State.PENDING), (State.PENDING, State.PENDING)}
    | {(state, State.ERROR) for state in (None, *QUEUED)}
    | {_ENDED},
}


def check_write(world: World, author: Author, new: DocumentState) -> None:
    """Check a write by `author` to the document of `world`."""
    transition = state_of(world.document), state_of(new)
    if transition not in ALLOWED[author]:
        raise Violation(f"{author}: {transition[0]} became {transition[1]}")
    if transition == _ENDED and author is not Author.RESULT and _leased(world):
        raise Violation(f"{author}: a live lease was ended")
    if (
        transition in EXPIRED
        and author is not Author.DEAD_LETTER
        and (_leased(world) or not new.expired(world.latest()))
    ):
        raise Violation(f"{author}: a queued mail was ended")
    if transition == _ENDED and author is not Author.RESULT and _called_unsent(new) and _may_be_sent(world):
        raise Violation(f"{author}: a mail that may have been sent is called unsent")
    if author is Author.CLAIM and transition[1] is State.PROCESSING and world.paused:
        raise Violation("claimed while all mail is paused")
    if transition[1] is State.SUCCESS and not world.accepted:
        raise Violation("SUCCESS, and no mail server has the mail")
    if transition[1] in FINAL and new.delivery and new.delivery.outage_time is not None:
        raise Violation(f"{author}: the mail has ended, and still waits for its server")
    scheduled = new.delivery.next_attempt_time if new.delivery else None
    if scheduled is not None and new.expires_at is not None and scheduled > new.expires_at:
        raise Violation(f"{author}: scheduled for later than it expires")


def _leased(world: World) -> bool:
    delivery = world.document.delivery if world.document else None
    return delivery is not None and delivery.leased(world.latest())


def _called_unsent(known: DocumentState) -> bool:
    return known.delivery is not None and known.delivery.error_code == ErrorCode.TEMPORARY


def _may_be_sent(world: World) -> bool:
    """Whether a mail server has accepted the mail in the attempt that the document is about, or still may."""
    senders = [sender for sender in world.senders if isinstance(sender, Claimed) and sender.noted]
    held = (
        world.document is not None
        and world.document.delivery is not None
        and any(world.document.delivery.holds(sender.lease) for sender in senders)
    )
    return held or world.accepted >= world.requests


def check_claim(world: World) -> None:
    """Check a claim that is about to be written."""
    leases = [sender.lease for sender in world.senders if isinstance(sender, Claimed)]
    if any(lease.expires > world.latest() for lease in leases):
        raise Violation("two live leases")


def check_result(world: World, sender: Answered, changes: Changes) -> None:
    """Check the result of the attempt of `sender`, which is about to be written."""
    lease, outcome = sender.lease, sender.answer.result.error_code
    if outcome is ErrorCode.UNKNOWN and changes.get("delivery.errorCode") is ErrorCode.EXPIRED:
        raise Violation("the outcome is unknown, and the document says that nothing was sent")
    delivery = world.document.delivery if world.document else None
    if delivery is None or delivery.attempts != lease.attempt:
        raise Violation("a result lands on another attempt")
    if delivery.state is State.PROCESSING and not delivery.holds(lease):
        raise Violation("a result lands on another's lease")


def check_unwritten(world: World, sender: Answered) -> None:
    """Check that the result of the attempt of `sender` may be dropped."""
    delivery = world.document.delivery if world.document else None
    if delivery is not None and delivery.state is State.CANCELLED and delivery.holds(sender.lease):
        raise Violation("what became of a cancelled mail is not told")


def check_waiting(world: World, since: datetime, policy: Policy) -> None:
    """Check that a mail may wait on for a server that is out."""
    if world.now - since >= policy.outage_patience:
        raise Violation("a mail waits for its server for longer than its patience")


def check_out_of_patience(world: World, since: datetime, policy: Policy) -> None:
    """Check that a mail need not wait any longer for a server that is out."""
    if world.now - since < policy.outage_patience:
        raise Violation("an attempt fails because of an outage, before the mail's patience is over")


def check_acceptance(world: World, sender: Claimed, policy: Policy) -> None:
    """Check a world after a mail server has accepted the mail from `sender`."""
    if world.document and sender.began and world.document.expired(sender.began):
        raise Violation("handed over after it has expired")
    if world.running is not None and sender.lease not in world.running:
        raise Violation("sent by an attempt that began after the mail was cancelled")
    if policy.lease_expiry is not LeaseExpiryPolicy.RETRY and world.accepted > world.requests:
        raise Violation(f"sent {world.accepted} times, asked for {world.requests} times, and at most once is promised")


def check_end(world: World, policy: Policy) -> None:
    """Check a world in which nothing is in flight any more."""
    delivery = world.document.delivery if world.document else None
    if world.document is None:
        return
    if delivery is None or delivery.state not in AT_REST:
        raise Violation(f"the end, and the document says {state_of(world.document)}")
    if world.request_pending:
        raise Violation("a user's request was never tried")
    if world.running is not None or world.document.expires_at is not None:
        return  # no other attempt may follow, or none in time
    may_go_on = {ErrorCode.TEMPORARY}
    if policy.lease_expiry is LeaseExpiryPolicy.RETRY:
        may_go_on |= {ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED}
    if policy.notes_sending and delivery.error_code == ErrorCode.LEASE_EXPIRED and not world.noted:
        raise Violation("no sender has handed it over, and nobody tries again")
    if delivery.error_code in may_go_on and delivery.attempts < policy.max_attempts:
        raise Violation(f"given up after {delivery.attempts} attempts")

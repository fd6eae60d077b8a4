"""The protocol under random interleavings: user edits, repeated and reordered events and messages, several senders,
crashes at any point, lost answers and a clock that jumps.

State machine, store, claims and dispatcher are the real ones; only Firestore, Pub/Sub and the mail server are modelled.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.events import DocumentChange
from sender.worker.claims import Claims
from shared.delivery.model import AT_REST, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.delivery.store import Claim, ClaimRequest, Finish, Release
from shared.errors import Deferred, ErrorCode, Unavailable
from shared.firestore.database import Snapshot, Version
from shared.pubsub import message
from tests import assembly
from tests.assembly import LEASE, DispatcherParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher

PATH = "mail/a"

#: The states that may follow each state. Only a user's request, or the result of an expired lease, leaves a final one.
FOLLOWERS: dict[State | None, set[State | None]] = {
    None: {None, State.PENDING, State.RETRY, State.PROCESSING, State.CANCELLED},
    State.PENDING: {State.PENDING, State.RETRY, State.PROCESSING, State.CANCELLED},
    State.RETRY: {State.PENDING, State.RETRY, State.PROCESSING, State.CANCELLED},
    State.PROCESSING: {*State},
    State.SUCCESS: {State.SUCCESS, State.PENDING, State.RETRY, State.CANCELLED},
    State.ERROR: {State.ERROR, State.SUCCESS, State.PENDING, State.RETRY, State.CANCELLED},
    State.CANCELLED: {State.CANCELLED, State.PENDING, State.RETRY, State.SUCCESS, State.ERROR},
}


@dataclass
class Attempt:
    """A running attempt of a sender; `accepted` is the mail server's answer, None before that."""

    claim: Claim
    accepted: bool | None = None


class Protocol(RuleBasedStateMachine):
    policy = assembly.POLICY

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.database, self.topic = Clock(), MemoryDatabase(), MemoryPublisher()
        self.dispatcher = DispatcherParts(
            self.policy, database=self.database, topic=self.topic, clock=self.clock
        ).dispatcher()
        self.events: list[DocumentChange] = []
        self.attempts: list[Attempt] = []
        self.requests = self.accepted = 0
        self.cancelling = False
        self.newest_claim: Lease | None = None
        self.concluded: set[Lease] = set()
        self.database.on_write = self.observe

    # Applications, users and failures

    @precondition(lambda self: self.database.documents.get(PATH) is None)
    @rule()
    def application_writes(self) -> None:
        self.requests += 1
        self.database.put(PATH, {"to": "a@b.c"})

    @precondition(lambda self: self.database.documents.get(PATH) is not None)
    @rule(state=st.sampled_from([State.RETRY, State.PENDING]))
    def user_requeues(self, state: State) -> None:
        self.requeue(state)

    def requeue(self, state: State) -> None:
        self.requests += 1
        self.database.edit(PATH, {"delivery.state": state})

    @precondition(lambda self: self.database.documents.get(PATH) is not None)
    @rule()
    def user_cancels(self) -> None:
        self.cancel()

    def cancel(self) -> None:
        self.cancelling = True
        self.database.edit(PATH, {"delivery.state": State.CANCELLED})
        self.cancelling = False

    @rule(seconds=st.sampled_from([-5, 1, 70]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds, microseconds=1))

    @rule(what=st.sampled_from(["edit", "requeue", "cancel", "claim"]))
    def someone_is_about_to_interfere(self, what: str) -> None:
        self.database.meanwhile = lambda: self.interfere(what)

    @rule(answers=st.integers(1, 2))
    def answers_are_about_to_be_lost(self, answers: int) -> None:
        self.database.lose_answers = answers

    def interfere(self, what: str) -> None:
        """Interfere between a process's read and its write."""
        if self.database.documents.get(PATH) is None:
            return
        if what == "cancel":
            self.cancel()
        elif what == "claim":
            self.topic.publish(*message.encode(PATH, "duplicate"))
            self.start(len(self.topic.published) - 1)
        elif what == "edit":
            self.database.edit(PATH, {"note": "x"})
        else:
            self.requeue(State.RETRY)

    # The dispatcher

    @precondition(lambda self: self.events)
    @rule(data=st.data(), repeat=st.booleans())
    def event_arrives(self, data: st.DataObject, repeat: bool) -> None:
        index = data.draw(st.integers(0, len(self.events) - 1))
        self.dispatcher.handle(self.events[index] if repeat else self.events.pop(index))

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def dispatcher_dies_between_publish_and_write(self, data: st.DataObject) -> None:
        self.database.meanwhile = _die
        with suppress(Died):
            self.dispatcher.handle(data.draw(st.sampled_from(self.events)))
        self.database.meanwhile = None

    # Senders

    @precondition(lambda self: self.topic.published)
    @rule(data=st.data(), repeat=st.booleans())
    def message_arrives(self, data: st.DataObject, repeat: bool) -> None:
        index = data.draw(st.integers(0, len(self.topic.published) - 1))
        self.start(index, repeat)

    def start(self, index: int, repeat: bool = False) -> None:
        if claim := self.deliver(index, repeat):
            self.attempts.append(Attempt(claim))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), accepts=st.booleans())
    def server_answers(self, data: st.DataObject, accepts: bool) -> None:
        attempt = data.draw(st.sampled_from(self.attempts))
        if attempt.accepted is not None:
            return
        try:
            attempt.claim = self.a_sender().sending(attempt.claim)
        except Deferred:
            self.attempts.remove(attempt)
            with suppress(Unavailable):
                self.a_sender().end(Release(attempt.claim))
            self.die(attempt)
            return
        attempt.accepted = accepts
        self.accepted += accepts

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def sender_finishes(self, data: st.DataObject) -> None:
        self.finish(self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1))))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def sender_dies(self, data: st.DataObject) -> None:
        self.die(self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1))))

    def die(self, attempt: Attempt) -> None:
        """The attempt's message is not acknowledged, so it is redelivered."""
        self.topic.publish(*message.encode(attempt.claim.path, "redelivered"))

    # Invariants

    @invariant()
    def at_most_once(self) -> None:
        assert self.accepted <= self.requests

    @invariant()
    def success_only_if_accepted(self) -> None:
        assert self.accepted or self.state() is not State.SUCCESS

    def observe(self, path: str, old: Snapshot | None, new: Snapshot | None) -> None:
        """Called for every write: makes an event, and checks the transition and that no two leases overlap."""
        before, after = (DocumentState.of(snapshot.fields) if snapshot else None for snapshot in (old, new))
        self.events.append(DocumentChange(path, before, after, new.version if new else Version()))
        earlier, delivery = (known.delivery if known else None for known in (before, after))
        assert (delivery.state if delivery else None) in FOLLOWERS[earlier.state if earlier else None]
        if delivery is None or delivery == earlier:
            return
        if delivery.state is State.CANCELLED and (earlier is None or earlier.state is not State.CANCELLED):
            assert self.cancelling, "only a user cancels"
        if delivery.state is State.PROCESSING:
            assert delivery.lease_expire_time is not None
            lease = Lease(delivery.attempts, delivery.lease_expire_time)
            if self.newest_claim and self.newest_claim not in (lease, *self.concluded):
                assert self.newest_claim.expires <= self.clock.now, "two live leases"
            self.newest_claim = lease
        elif delivery.lease_expire_time is None and self.newest_claim:
            self.concluded.add(self.newest_claim)

    def a_sender(self) -> Claims:
        """A new sender process."""
        return assembly.claims(self.database, self.policy)

    def state(self) -> State | None:
        document = self.database.documents.get(PATH)
        delivery = DocumentState.of(document.fields).delivery if document else None
        return delivery.state if delivery else None

    def deliver(self, index: int, repeat: bool = False) -> Claim | None:
        data, attributes = self.topic.published[index]
        request = message.decode(data, attributes, "1", "mail")
        self.clock.advance(timedelta(microseconds=1))  # no two senders read their clocks at the same instant
        claim = self.a_sender().begin(ClaimRequest(request.path, self.clock.now))
        if not repeat and (isinstance(claim, Claim) or claim.acknowledge):
            self.topic.published.pop(index)
        return claim if isinstance(claim, Claim) else None

    def finish(self, attempt: Attempt) -> None:
        sent = bool(attempt.accepted)
        result = Result(State.SUCCESS, info={}) if sent else Result(State.ERROR, None, "No.", ErrorCode.REJECTED)
        newest = self.newest_claim
        reason = self.a_sender().end(Finish(attempt.claim, result, self.clock.now, 0.5)).reason
        if reason in (Reason.FINISHED, Reason.LATE_RESULT, Reason.CANCELLED):
            assert attempt.claim.lease == newest, "a result landed on another attempt"

    def teardown(self) -> None:
        """When everything has been handled, every mail is in a final state."""
        for attempt in self.attempts:
            self.die(attempt)
        for _ in range(200):
            self.clock.advance(LEASE)
            while self.events:
                self.dispatcher.handle(self.events.pop(0))
            for index in reversed(range(len(self.topic.published))):
                if claim := self.deliver(index):
                    self.finish(Attempt(claim))
            if not self.events and not self.topic.published:
                break
        assert self.database.documents.get(PATH) is None or self.state() in AT_REST


class Died(Exception):
    """The process died."""


def _die() -> None:
    raise Died


class ProtocolWithNotes(Protocol):
    """Under the policy by which a mail that is surely unsent is tried again by itself."""

    policy = Policy(LEASE, lease_expiry=LeaseExpiryPolicy.RETRY_UNSENT)


TestProtocol = Protocol.TestCase
TestProtocolWithNotes = ProtocolWithNotes.TestCase
TestProtocol.settings = TestProtocolWithNotes.settings = settings(max_examples=200, stateful_step_count=50)

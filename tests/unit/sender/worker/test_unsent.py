"""LEASE_EXPIRY_POLICY=retry-unsent through the whole sender: the note comes before the mail server gets anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sender.worker.attempt import HandlerResult
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.delivery.store import MailStore
from shared.errors import Deferred, ErrorCode, NotSendable, NotSent
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, SenderParts
from tests.fakes import Clock, MemoryTransport
from tests.together import WatchedDatabase

POLICY = Policy(LEASE, lease_expiry=LeaseExpiryPolicy.RETRY_UNSENT)


class World:
    def __init__(self, policy: Policy = POLICY) -> None:
        self.database, self.transport = WatchedDatabase(), MemoryTransport()
        self.clock = Clock()
        self.parts = SenderParts(policy, self.database, self.transport, clock=self.clock)
        self.transactions = 0
        self.database.before = self.count
        self.database.put("mail/a", {"to": "a@b.c", "message": {"subject": "s", "text": "t"}})

    def count(self, method: str, paths: object) -> None:
        self.transactions += method == "transact"

    def handle(self) -> HandlerResult:
        pushed = ReceivedMessage(json.dumps({"document": "mail/a"}).encode(), {}, "77")
        return self.parts.sender().handle(pushed)

    def meanwhile(self, state: str) -> None:
        """A user sets this state while the mail is being composed."""

        def compose(*args: Any, **kwargs: Any) -> Any:
            self.database.edit("mail/a", {"delivery.state": state})
            return COMPOSER(*args, **kwargs)

        self.parts.compose = compose

    @property
    def delivery(self) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents["mail/a"].fields["delivery"]
        return delivery


def test_the_note_is_written_when_the_mail_server_gets_the_mail() -> None:
    world, notes = World(), []
    world.transport.on_mail = lambda recipients: notes.append("unsentLease" in world.delivery)
    assert world.handle() == HandlerResult(True, "sent")
    assert notes == [False]
    assert (world.delivery["state"], world.delivery["attempts"]) == ("SUCCESS", 1)


@pytest.mark.parametrize(("policy", "writes"), [(POLICY, 3), (Policy(LEASE), 2)], ids=["retry-unsent", "error"])
def test_a_mail_costs_one_write_more_and_no_transaction(policy: Policy, writes: int) -> None:
    world = World(policy)
    world.handle()
    assert (world.database.reads, world.database.writes, world.transactions) == ([1], [1] * writes, 0)


@pytest.mark.parametrize(
    ("error", "handled", "state"),
    [
        (NotSent(ErrorCode.CONNECTION, "Nobody there."), HandlerResult(True, "connection"), "ERROR"),
        (Deferred(20.0, "The rate is used up."), HandlerResult(True, "deferred"), "PENDING"),
    ],
    ids=["failed", "put off"],
)
def test_what_ends_an_attempt_after_the_note_is_written_without_a_conflict(
    error: Exception, handled: HandlerResult, state: str
) -> None:
    world = World()
    world.transport.fail = error
    assert world.handle() == handled
    assert (world.delivery["state"], world.transactions) == (state, 0)


@pytest.mark.parametrize(
    ("state", "then", "sent"), [("CANCELLED", "cancelled", 0), ("RETRY", "sent", 1)], ids=["cancelled", "asked again"]
)
def test_a_users_request_before_the_note_comes_first(state: str, then: str, sent: int) -> None:
    world = World()
    world.meanwhile(state)
    assert world.handle() == HandlerResult(False, "released")
    assert (world.delivery["state"], world.transport.sent) == (state, [])
    world.parts.compose = COMPOSER
    assert world.handle() == HandlerResult(True, then)
    assert len(world.transport.sent) == sent


def test_a_note_that_fails_by_a_fault_of_ours_does_not_make_the_outcome_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(store: MailStore, claims: object) -> None:
        raise RuntimeError("a bug")

    world = World()
    monkeypatch.setattr(MailStore, "sending", fail)
    assert world.handle() == HandlerResult(False, "released")
    assert (world.delivery["state"], world.delivery["attempts"], world.transport.sent) == ("PENDING", 0, [])


def test_a_mail_whose_composing_kills_each_sender_ends() -> None:
    class Died(BaseException):
        pass

    def dies(*args: Any, **kwargs: Any) -> Any:
        raise Died

    world, attempts = World(), 0
    world.parts.compose = dies
    while "delivery" not in world.database.documents["mail/a"].fields or world.delivery["state"] == "PROCESSING":
        try:
            world.handle()
        except Died:
            attempts += 1
        world.clock.advance(LEASE)
    assert attempts == 6
    assert (world.delivery["errorCode"], world.transport.sent) == ("temporary", [])


def test_a_mail_that_can_not_be_composed_ends_without_a_note() -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise NotSendable(ErrorCode.VALIDATION, "No.")

    world = World()
    world.parts.compose = fails
    assert world.handle() == HandlerResult(True, "validation")
    assert world.database.writes == [1, 1]

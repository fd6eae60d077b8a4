"""A sender while mail is paused: nothing new is handed over, nothing fails, and no attempt counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from sender.worker.attempt import HandlerResult
from shared.deadline import Deadline
from shared.delivery.pause import Kind, Part, Pause
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.observability.events import Event
from shared.pubsub.push import ReceivedMessage
from tests.assembly import LEASE, NOT_PAUSED, PATIENCE, POLICY, SenderParts
from tests.fakes import Clock, MemoryDatabase, MemoryTransport
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import server_at

MAIL = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PAUSED = HandlerResult(True, "paused")


class World:
    def __init__(self, policy: Policy = POLICY) -> None:
        self.clock, self.database, self.transport = Clock(), MemoryDatabase(), MemoryTransport()
        self.parts = SenderParts(policy, self.database, self.transport, clock=self.clock)
        self.all_mail = Pause(self.clock.now - MINUTE)
        self.one_transport = Pause(None, {Part(Kind.TRANSPORT, "default"): self.clock.now - MINUTE})
        self.one_lane = Pause(None, {Part(Kind.LANE, "default"): self.clock.now - MINUTE})
        self.writes = 0

        def count(*_: object) -> None:
            self.writes += 1

        self.database.on_write = count

    def write(self, delivery: dict[str, Any] | None = None, **fields: Any) -> None:
        self.database.put("mail/a", {**MAIL, **fields, **({"delivery": delivery} if delivery else {})})
        self.writes = 0

    def handle(self, pause: Pause, **data: Any) -> HandlerResult:
        self.parts.pause = pause
        message = json.dumps(data or {"document": "mail/a"}).encode()
        return self.parts.sender().handle(ReceivedMessage(message, {}, "77"))

    @property
    def delivery(self) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents["mail/a"].fields["delivery"]
        return delivery


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("state", [None, "PENDING", "RETRY"])
def test_while_all_mail_is_paused_a_mail_stays_queued_with_one_write(world: World, state: str | None) -> None:
    start = world.clock.now - DAY
    world.write({"state": state, "attempts": 1, "startTime": start} if state else None)
    assert world.handle(world.all_mail) == PAUSED
    assert world.delivery["state"] == (state or "PENDING")
    assert world.delivery["attempts"] == (1 if state else 0)
    assert world.delivery["nextAttemptTime"] == (start if state else world.clock.now)
    assert (world.writes, world.transport.sent) == (1, [])


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        ({"state": "SUCCESS"}, "final-state"),
        ({"state": "CANCELLED"}, "cancelled"),
        ({"state": "PROCESSING", "leaseExpireTime": Clock().now}, "lease-expired"),
    ],
)
def test_what_is_not_queued_is_treated_as_always(world: World, delivery: dict[str, Any], reason: str) -> None:
    world.write(delivery)
    assert world.handle(world.all_mail) == HandlerResult(True, reason)


def test_an_inline_mail_becomes_a_queued_document(world: World) -> None:
    assert world.handle(world.all_mail, mail=MAIL, id="a") == PAUSED
    assert world.delivery["state"] == "PENDING"
    assert world.handle(NOT_PAUSED) == HandlerResult(True, "sent")
    assert world.delivery["attempts"] == 1


@pytest.mark.parametrize("part", ["one_transport", "one_lane"])
@pytest.mark.parametrize("policy", LeaseExpiryPolicy)
def test_a_mail_whose_transport_or_lane_is_paused_is_put_off_for_a_day(
    policy: LeaseExpiryPolicy, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world = World(Policy(LEASE, lease_expiry=policy, max_attempts=2))
    world.write({"state": "PENDING", "attempts": 0, "startTime": world.clock.now - MINUTE})
    assert world.handle(getattr(world, part)) == PAUSED
    found = {name: world.delivery[name] for name in ("state", "attempts", "leaseExpireTime", "nextAttemptTime")}
    assert found == {
        "state": "PENDING",
        "attempts": 0,
        "leaseExpireTime": None,
        "nextAttemptTime": world.clock.now + DAY - MINUTE,
    }
    assert (world.writes, world.transport.sent) == (2, [])
    [entry] = [vars(record)["fields"] for record in caplog.records if vars(record)["fields"]["event"] == Event.DEFERRAL]
    assert (entry["reason"], entry["written"]) == ("paused", "released")


@pytest.mark.parametrize("kind", Kind)
def test_a_mail_of_another_transport_or_lane_is_sent(world: World, kind: Kind) -> None:
    world.write()
    assert world.handle(Pause(None, {Part(kind, "bulk"): world.clock.now})) == HandlerResult(True, "sent")


def test_a_mail_whose_lane_is_paused_is_not_composed(world: World) -> None:
    """Its attachments may be large, and what can't be composed would be a failed attempt."""
    world.write(to=None)
    assert world.handle(world.one_lane) == PAUSED
    assert world.delivery["attempts"] == 0
    assert world.handle(NOT_PAUSED) == HandlerResult(True, "not-due")
    world.clock.advance(DAY)
    assert world.handle(NOT_PAUSED) == HandlerResult(True, "validation")


def test_a_mail_that_expires_is_put_off_until_then(world: World) -> None:
    world.write(expiresAt=world.clock.now + MINUTE)
    assert world.handle(world.one_transport) == PAUSED
    assert world.delivery["nextAttemptTime"] == world.clock.now + MINUTE


def test_a_mail_that_can_not_be_sent_is_an_error_also_while_its_transport_is_paused(world: World) -> None:
    world.write(to=None)
    assert world.handle(world.one_transport) == HandlerResult(True, "validation")


@pytest.mark.parametrize("what", ["all_mail", "one_transport", "one_lane"])
def test_a_pause_between_claim_and_handing_over_gives_the_claim_back(world: World, what: str) -> None:
    """The pause begins while the mail waits for a connection."""

    class Waiting(MemoryTransport):
        def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
            world.parts.pause = getattr(world, what)
            return super().send(envelope, data, deadline, begin)

    world.parts.transport = waiting = Waiting()
    start = world.clock.now - MINUTE
    world.write({"state": "PENDING", "attempts": 0, "startTime": start})
    assert world.handle(NOT_PAUSED) == PAUSED
    assert (world.delivery["state"], world.delivery["attempts"]) == ("PENDING", 0)
    assert world.delivery["nextAttemptTime"] == (start if what == "all_mail" else start + DAY)
    assert waiting.sent == []


@pytest.fixture
def smtp() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.mark.parametrize("part", ["one_transport", "one_lane"])
def test_no_connection_is_made_for_a_paused_part(world: World, smtp: ScriptedServer, part: str) -> None:
    with closing(SmtpTransport(server_at(smtp), SmtpLimits())) as transport:
        world.parts.transport = transport
        world.write()
        assert world.handle(getattr(world, part)) == PAUSED
    assert smtp.commands == []


def test_a_mail_that_is_being_handed_over_is_sent(world: World, smtp: ScriptedServer) -> None:
    stall = smtp.when("BODY").stall()
    with closing(SmtpTransport(server_at(smtp), SmtpLimits())) as transport, ThreadPoolExecutor(1) as one:
        world.parts.transport = transport
        world.write()
        running = one.submit(world.handle, NOT_PAUSED)
        assert stall.reached.wait(PATIENCE)
        world.parts.pause = world.all_mail
        stall.release()
        assert running.result(PATIENCE) == HandlerResult(True, "sent")
    assert world.delivery["state"] == "SUCCESS"


def test_a_user_may_cancel_what_waits_for_its_transport(world: World) -> None:
    world.write()
    world.handle(world.one_transport)
    world.database.edit("mail/a", {"delivery.state": "CANCELLED"})
    world.clock.advance(DAY)
    assert world.handle(NOT_PAUSED) == HandlerResult(True, "cancelled")

"""The sender over HTTP. Firestore, Pub/Sub and the mail server are in-memory fakes; the rest is real."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sender.entrypoints.push import create_app
from sender.message.compose import Compose
from sender.worker.attempt import HandlerResult
from shared.deadline import NEVER
from shared.delivery.lanes import Lanes
from shared.delivery.policy import Policy
from shared.errors import Deferred, ErrorCode, FirepostError, NotSent, OutcomeUnknown
from shared.firestore.database import Unwritable, Version, Write
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, POLICY, SenderParts, memory_budget, unclaimed
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher, MemoryTransport

MIB = 1024 * 1024
MAIL: dict[str, Any] = {"to": ["a@b.c", "d@e.f"], "message": {"subject": "Hello", "text": "there"}}


class World:
    """A sender and its environment."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.clock, self.database = Clock(), MemoryDatabase()
        self.transport, self.dead_letters = MemoryTransport(), MemoryPublisher()
        self.parts = SenderParts(policy, self.database, self.transport, self.dead_letters, self.clock)
        self.sender = self.parts.sender()
        self.client: FlaskClient = create_app(self.sender, verifier=None).test_client()

    def push(self, data: Any, **attributes: str) -> TestResponse:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        pushed = {"data": base64.b64encode(raw).decode(), "attributes": attributes, "messageId": "77"}
        return self.client.post("/", json={"message": pushed, "subscription": "projects/p/subscriptions/s"})

    def delivery(self, path: str = "mail/a") -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents[path].fields["delivery"]
        return delivery


@pytest.fixture
def world() -> World:
    world = World()
    world.database.put("mail/a", dict(MAIL))
    return world


BY_REFERENCE = {"document": "mail/a"}


@pytest.mark.parametrize(
    ("lane", "attributes", "reason"),
    [
        ("default", {}, "sent"),
        ("default", {"lane": "default"}, "sent"),
        ("default", {"lane": "fast"}, "sent"),
        ("default", {"lane": "bulk"}, "other-lane"),
        ("bulk", {"lane": "bulk"}, "sent"),
        ("bulk", {"lane": "slow"}, "other-lane"),
        ("bulk", {}, "other-lane"),
    ],
)
def test_a_message_of_another_lane_is_left_to_the_senders_of_that_lane(
    lane: str, attributes: dict[str, str], reason: str
) -> None:
    parts = SenderParts(lanes=Lanes.parse("bulk,slow"), lane=lane)
    parts.database.put("mail/a", dict(MAIL))
    received = ReceivedMessage(json.dumps(BY_REFERENCE).encode(), attributes, "77")
    assert parts.sender().handle(received) == HandlerResult(True, reason)
    assert unclaimed(parts.database, "mail/a") is (reason == "other-lane")


def test_a_mail_is_sent_and_its_result_has_the_extensions_format(world: World) -> None:
    world.transport.refuse = {"d@e.f"}
    response = world.push(BY_REFERENCE)
    assert (response.status_code, response.text) == (200, "sent\n")
    delivery = world.delivery()
    message_id = delivery["info"].pop("messageId")
    assert message_id.startswith("<") and message_id.endswith("@example.com>")
    assert delivery == {
        "state": "SUCCESS",
        "attempts": 1,
        "startTime": world.clock.now,
        "endTime": world.clock.now,
        "leaseExpireTime": None,
        "error": None,
        "info": {
            "sendgridQueueId": None,
            "accepted": ["a@b.c"],
            "rejected": ["d@e.f"],
            "pending": [],
            "response": "250 2.0.0 Ok: queued as 1",
        },
        "history": [
            {
                "attempt": 1,
                "startTime": world.clock.now,
                "endTime": world.clock.now,
                "state": "SUCCESS",
                "errorCode": None,
                "transport": "default",
                "messageId": message_id,
                "response": "250 2.0.0 Ok: queued as 1",
            }
        ],
    }


def test_a_message_delivered_twice_sends_once(world: World) -> None:
    world.push(BY_REFERENCE)
    assert world.push(BY_REFERENCE).text == "final-state\n"
    assert len(world.transport.sent) == 1


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        pytest.param(NotSent(ErrorCode.REJECTED, "The server said no."), "rejected", id="definitely-not-sent"),
        pytest.param(OutcomeUnknown("The connection was lost."), "unknown", id="outcome-unknown"),
    ],
)
def test_a_failed_attempt_ends_as_error(world: World, failure: Exception, code: str) -> None:
    world.transport.fail = failure
    assert (world.push(BY_REFERENCE).status_code, world.delivery()["state"]) == (200, "ERROR")
    assert (world.delivery()["error"], world.delivery()["errorCode"]) == (str(failure), code)
    assert "info" not in world.delivery()


def test_a_document_that_cannot_be_sent_never_reaches_the_server(world: World) -> None:
    world.database.put("mail/a", {"message": MAIL["message"]})
    assert world.push(BY_REFERENCE).text == "validation\n"
    assert "'to'" in world.delivery()["error"]
    assert not world.transport.sent


def test_a_bug_in_sending_ends_as_unknown_and_the_document_is_not_stuck(world: World) -> None:
    world.transport.fail = ZeroDivisionError("secret")
    world.push(BY_REFERENCE)
    assert world.delivery()["errorCode"] == "unknown"
    assert "secret" not in world.delivery()["error"]


def test_a_bug_in_composing_reports_that_nothing_was_sent(world: World) -> None:
    def broken(*args: object, **kwargs: object) -> Any:
        raise ZeroDivisionError("secret")

    world.parts.compose = broken
    world.push(BY_REFERENCE)
    assert world.delivery()["error"] == "The mail could not be composed (ZeroDivisionError) and was not sent."


def test_a_message_whose_mail_another_sender_holds_is_not_acknowledged(world: World) -> None:
    held = {"state": "PROCESSING", "attempts": 1, "leaseExpireTime": world.clock.now + LEASE}
    world.database.edit("mail/a", {"delivery": held})
    assert (world.push(BY_REFERENCE).status_code, world.push(BY_REFERENCE).text) == (409, "lease-held\n")
    world.clock.advance(LEASE)
    assert (world.push(BY_REFERENCE).status_code, world.delivery()["errorCode"]) == (200, "lease-expired")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"hello", "not-json", id="not-json"),
        pytest.param({"document": "users/a"}, "foreign-path", id="foreign-path"),
        pytest.param({"mail": {"n": 2**63}, "id": "x"}, "unwritable", id="a-number-firestore-cannot-hold"),
    ],
)
def test_a_message_that_can_never_work_is_dead_lettered_unchanged(world: World, data: Any, reason: str) -> None:
    world.database.write = refusing(world.database.write, "n")  # type: ignore[method-assign]
    assert world.push(data, origin="shop").status_code == 200
    ((dead, attributes),) = world.dead_letters.published
    assert dead == (data if isinstance(data, bytes) else json.dumps(data).encode())
    assert (attributes["reason"], attributes["origin"]) == (reason, "shop")


def test_a_message_that_cannot_be_dead_lettered_is_not_acknowledged(world: World) -> None:
    world.dead_letters.broken = True
    assert world.push(b"hello").status_code == 503


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("CloudPubSubDeadLetterSourceDeliveryCount", "5", id="a-claim-to-be-given-up-by-pubsub"),
        pytest.param("long", "ö" * 513, id="a-value-that-pubsub-refuses"),
        pytest.param("ö" * 129, "long", id="a-name-that-pubsub-refuses"),
    ],
)
def test_a_dead_letter_leaves_attributes_out_that_would_mislead_or_stop_it(world: World, name: str, value: str) -> None:
    world.push(b"[]", **{name: value, "kept": "ö" * 512})
    ((_, attributes),) = world.dead_letters.published
    assert set(attributes) == {"kept", "messageId", "reason", "error"}


def test_a_dead_letter_has_room_for_its_reason(world: World) -> None:
    world.push(b"hello", **{f"attribute{n}": "x" for n in range(100)})
    ((_, attributes),) = world.dead_letters.published
    assert len(attributes) <= 100
    assert attributes["reason"] == "not-json"


def test_a_dead_letters_error_is_short_enough_for_pubsub(world: World) -> None:
    identifier = "漢" * 450
    world.push({"mail": MAIL, "id": identifier})
    world.push({"mail": MAIL | {"subject": "another"}, "id": identifier})
    ((_, attributes),) = world.dead_letters.published
    assert attributes["reason"] == "id-conflict"
    assert len(attributes["error"].encode()) in range(900, MAX_ATTRIBUTE_BYTES + 1)


class TestInline:
    def test_the_same_mail_again_is_sent_once(self, world: World) -> None:
        inline = {"mail": MAIL, "id": "order-17"}
        assert world.push(inline).text == "sent\n"
        assert world.push(inline).text == "final-state\n"
        assert world.delivery("mail/order-17")["attempts"] == 1
        assert len(world.transport.sent) == 1

    def test_without_an_id_pubsubs_message_id_prevents_duplicates(self, world: World) -> None:
        world.push({"mail": MAIL})
        world.push({"mail": MAIL})
        assert world.delivery("mail/77")["state"] == "SUCCESS"
        assert len(world.transport.sent) == 1

    def test_another_mail_under_the_same_id_is_refused(self, world: World) -> None:
        world.push({"mail": MAIL, "id": "order-17"})
        assert world.push({"mail": {**MAIL, "to": "x@y.z"}, "id": "order-17"}).text == "id-conflict\n"
        assert world.dead_letters.published[0][1]["reason"] == "id-conflict"
        assert len(world.transport.sent) == 1

    def test_an_invalid_mail_is_recorded_on_its_document(self, world: World) -> None:
        world.push({"mail": {}, "id": "empty"})
        assert world.delivery("mail/empty")["errorCode"] == "validation"


class TestRetries:
    @pytest.fixture
    def world(self) -> World:
        world = World(Policy(LEASE, max_attempts=3))
        world.database.put("mail/a", dict(MAIL))
        return world

    def test_a_transient_failure_is_retried_later(self, world: World) -> None:
        world.transport.fail = NotSent(ErrorCode.CONNECTION, "Nobody there.")
        assert world.push(BY_REFERENCE).status_code == 200, "planned waiting uses up no delivery attempt of Pub/Sub's"
        delivery = world.delivery()
        assert (delivery["state"], delivery["error"]) == ("RETRY", "Nobody there.")
        assert delivery["nextAttemptTime"] == world.clock.now + timedelta(seconds=15)
        assert world.push(BY_REFERENCE).text == "not-due\n"
        world.clock.advance(timedelta(seconds=15))
        world.transport.fail = None
        world.push(BY_REFERENCE)
        assert (world.delivery()["state"], world.delivery()["attempts"]) == ("SUCCESS", 2)
        assert "nextAttemptTime" not in world.delivery()

    def test_a_mail_that_was_put_off_while_its_message_was_on_the_way_says_until_when(self, world: World) -> None:
        send_at = world.clock.now + timedelta(hours=1)
        world.database.put("mail/a", {**MAIL, "sendAt": send_at, "delivery": {"state": "PENDING", "attempts": 0}})
        assert world.push(BY_REFERENCE).text == "scheduled\n"
        assert (world.delivery()["state"], world.delivery()["nextAttemptTime"]) == ("PENDING", send_at)
        assert world.push(BY_REFERENCE).text == "not-due\n"

    def test_retries_end_at_max_attempts(self, world: World) -> None:
        world.transport.fail = NotSent(ErrorCode.CONNECTION, "Nobody there.")
        for _ in range(3):
            world.push(BY_REFERENCE)
            world.clock.advance(timedelta(hours=1))
        assert (world.delivery()["state"], world.delivery()["attempts"]) == ("ERROR", 3)

    def test_only_pending_recipients_are_retried_with_the_same_message_id(self, world: World) -> None:
        world.transport.defer = {"d@e.f"}
        world.push(BY_REFERENCE)
        assert (world.delivery()["state"], world.delivery()["info"]["pending"]) == ("RETRY", ["d@e.f"])
        world.transport.defer = set()
        world.clock.advance(timedelta(hours=1))
        world.push(BY_REFERENCE)
        (first, bytes_of_first), (second, bytes_of_second) = world.transport.sent
        assert (first.recipients, second.recipients) == (("a@b.c", "d@e.f"), ("d@e.f",))
        assert message_id(bytes_of_first) == message_id(bytes_of_second)
        delivery = world.delivery()
        assert (delivery["state"], delivery["info"]["accepted"]) == ("SUCCESS", ["a@b.c", "d@e.f"])
        assert "resumes" not in delivery

    @pytest.mark.parametrize("error", [None, NotSent(ErrorCode.CONNECTION, "Nobody there.")], ids=["some", "all"])
    def test_an_edit_before_an_automatic_retry_gives_the_mail_another_message_id(
        self, world: World, error: NotSent | None
    ) -> None:
        world.transport.defer, world.transport.fail = {"d@e.f"}, error
        world.push(BY_REFERENCE)
        world.transport.defer, world.transport.fail = set(), None
        world.clock.advance(timedelta(hours=1))
        world.database.edit("mail/a", {"message.text": "Price 12"})
        world.push(BY_REFERENCE)
        *first, (_, bytes_of_last) = world.transport.sent
        assert b"Price 12" in bytes_of_last
        assert all(message_id(data) != message_id(bytes_of_last) for _, data in first)
        assert world.delivery()["info"]["messageId"].encode() in message_id(bytes_of_last)

    def test_a_users_retry_goes_to_all_recipients_again(self, world: World) -> None:
        world.push(BY_REFERENCE)
        world.database.edit("mail/a", {"delivery.state": "RETRY"})
        world.push(BY_REFERENCE)
        (first, bytes_of_first), (second, bytes_of_second) = world.transport.sent
        assert first.recipients == second.recipients
        assert message_id(bytes_of_first) != message_id(bytes_of_second)


class TestPlannedWaiting:
    def test_a_mail_without_memory_is_scheduled_and_its_attempt_does_not_count(self, world: World) -> None:
        world.parts.memory = memory_budget(2 * MIB, wait_seconds=0.01)
        world.database.put("mail/a", MAIL | {"message": {"subject": "s", "text": "x" * 900_000}})
        sender = world.parts.sender()
        with world.parts.memory.reservation(NEVER) as other:
            other.take(2 * MIB)
            pushed = ReceivedMessage(json.dumps(BY_REFERENCE).encode(), {}, "77", world.clock())
            assert sender.handle(pushed) == HandlerResult(True, "deferred")
            delivery = world.delivery()
            assert (delivery["state"], delivery["attempts"]) == ("PENDING", 0)
            assert delivery["nextAttemptTime"] > world.clock()
        world.clock.advance(LEASE)
        assert sender.handle(pushed) == HandlerResult(True, "sent")

    def test_a_deferred_mail_is_scheduled_and_its_attempt_does_not_count(self, world: World) -> None:
        world.transport.fail = Deferred(20.0, "The rate is used up.")
        response = world.push(BY_REFERENCE)
        assert (response.status_code, response.text) == (200, "deferred\n")
        delivery = world.delivery()
        assert (delivery["state"], delivery["attempts"], delivery["leaseExpireTime"]) == ("PENDING", 0, None)
        assert delivery["nextAttemptTime"] == world.clock.now + timedelta(seconds=20)

    def test_at_shutdown_a_mail_that_has_not_reached_the_server_is_released(self, world: World) -> None:
        world.parts.compose = draining(world)
        response = world.push(BY_REFERENCE)
        assert (response.status_code, response.text) == (409, "released\n")
        assert (world.delivery()["state"], world.delivery()["attempts"]) == ("PENDING", 0)
        assert not world.transport.sent

    def test_after_shutdown_nothing_is_claimed(self, world: World) -> None:
        world.sender.drain()
        response = world.push(BY_REFERENCE)
        assert (response.status_code, response.text) == (409, "released\n")
        assert unclaimed(world.database, "mail/a")


def draining(world: World) -> Compose:
    """SIGTERM arrives while the mail is being composed."""

    def compose(*args: Any, **kwargs: Any) -> Any:
        world.sender.drain()
        return COMPOSER(*args, **kwargs)

    return compose


def message_id(data: bytes) -> bytes:
    return next(line for line in data.split(b"\r\n") if line.startswith(b"Message-ID:"))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="not-json"),
        pytest.param(b"[]", id="not-a-map"),
        pytest.param(b'{"message": {"data": "aGk="}}', id="no-message-id"),
        pytest.param(b'{"message": {"data": "%%", "messageId": "1"}}', id="not-base64"),
    ],
)
def test_a_request_that_is_not_from_pubsub_is_a_bad_request(world: World, body: bytes) -> None:
    assert world.client.post("/", data=body, content_type="application/json").status_code == 400
    assert not world.dead_letters.published


def refusing(write: Any, name: str) -> Any:
    """A `write` that refuses documents with a field of that name."""

    def guarded(writes: Sequence[Write]) -> list[Version | FirepostError]:
        if any(name in each.changes for each in writes):
            return [Unwritable("A value can't be stored in Firestore.") for _ in writes]
        outcomes: list[Version | FirepostError] = write(writes)
        return outcomes

    return guarded

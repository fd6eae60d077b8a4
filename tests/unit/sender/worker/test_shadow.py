"""The sender in shadow mode: what it makes of mails that another system sends."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sender.worker.attempt import HandlerResult
from sender.worker.shadow import ShadowSender, recipients_of
from shared.errors import Deferred, ErrorCode, NotSendable, Unavailable
from shared.firestore.database import Snapshot
from shared.firestore.values import decode_time
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, SenderParts, limits
from tests.fakes import MemoryDatabase, MemoryPublisher, MemoryTransport

MAIL: dict[str, Any] = {"to": ["Ada <ada@example.com>", "Bob@Example.com"], "message": {"subject": "s", "text": "t"}}
INFO = {"accepted": ["ada@example.com"], "rejected": ["Bob@example.com"], "pending": []}
SHADOW = {"version": "shadow"}

Entry = dict[str, Any]


class World:
    """A sender in shadow mode whose database, transport and topic refuse every write."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self.caplog = caplog
        self.database, self.transport, self.dead_letters = MemoryDatabase(), MemoryTransport(), MemoryPublisher()
        self.parts = SenderParts(database=self.database, transport=self.transport, dead_letters=self.dead_letters)
        self.sender: ShadowSender = self.parts.shadow()

    def put(self, fields: Entry, delivery: object = None) -> None:
        self.database.put("mail/a", fields | ({} if delivery is None else {"delivery": delivery}))
        self.database.on_write = lambda path, old, new: pytest.fail(f"{path} was written")

    def handle(self, data: Any = None, attributes: dict[str, str] | None = None) -> HandlerResult:
        raw = data if isinstance(data, bytes) else json.dumps(data or {"document": "mail/a"}).encode()
        return self.sender.handle(ReceivedMessage(raw, SHADOW if attributes is None else attributes, "77", None))

    def look(self, fields: Entry, delivery: object = None) -> Entry:
        """The log entry of a look at this document."""
        self.put(fields, delivery)
        self.caplog.clear()
        assert self.handle().acknowledge
        return self.entry()

    def entry(self) -> Entry:
        entry: Entry = vars(self.caplog.records[-1])["fields"]
        return entry


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    return World(caplog)


def test_a_look_says_what_would_have_been_sent_and_that_both_systems_agree(world: World) -> None:
    entry = world.look(MAIL, {"state": "SUCCESS", "info": INFO, "attempts": 1, "error": None})
    assert entry.pop("duration_ms") >= 0
    assert len(entry.pop("digest")) == 16
    assert entry.pop("bytes") > 100
    assert entry == {
        "event": "shadow",
        "document": "mail/a",
        "reason": "sent",
        "old_state": "SUCCESS",
        "old_error": None,
        "recipients": "same",
        "recipients_old": 2,
        "recipients_own": 2,
        "warnings": 0,
    }
    assert not world.transport.sent


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        pytest.param(None, (None, None, "unknown"), id="not-begun"),
        pytest.param({"state": "PENDING"}, ("PENDING", None, "unknown"), id="queued"),
        pytest.param({"state": "PROCESSING", "info": INFO}, ("PROCESSING", None, "unknown"), id="processing"),
        pytest.param({"state": "SUCCESS"}, ("SUCCESS", None, "unknown"), id="without-info"),
        pytest.param(
            {"state": "SUCCESS", "info": {"accepted": [], "rejected": []}}, ("SUCCESS", None, "unknown"), id="sendgrid"
        ),
        pytest.param(
            {"state": "SUCCESS", "info": {"accepted": ["ada@example.com"]}}, ("SUCCESS", None, "differ"), id="fewer"
        ),
        pytest.param(
            {"state": "ERROR", "error": "Error: Can't send mail - all recipients were rejected: 550 5.1.1 Unknown"},
            ("ERROR", "mail-server", "unknown"),
            id="refused-by-the-server",
        ),
        pytest.param(
            {"state": "ERROR", "error": "Error: connect ECONNREFUSED 127.0.0.1:25"},
            ("ERROR", "mail-server", "unknown"),
            id="no-connection",
        ),
        pytest.param(
            {"state": "ERROR", "error": "TypeError: Cannot read properties of undefined"},
            ("ERROR", "other", "unknown"),
            id="its-own-fault",
        ),
        pytest.param({"state": "ERROR", "error": 550}, ("ERROR", "other", "unknown"), id="no-words"),
        pytest.param({"state": "DONE"}, (None, None, "unknown"), id="in-a-state-of-its-own"),
        pytest.param("SUCCESS", (None, None, "unknown"), id="no-map"),
    ],
)
def test_the_old_system_is_compared_by_what_it_has_written(
    world: World, delivery: object, expected: tuple[object, object, str]
) -> None:
    entry = world.look(MAIL, delivery)
    assert (entry["old_state"], entry["old_error"], entry["recipients"]) == expected
    assert entry["reason"] == "sent"


@pytest.mark.parametrize(
    "info",
    [None, "ada", [], {}, {"accepted": "ada"}, {"accepted": [{"address": "a@b.c"}]}, {"accepted": [None]}],
    ids=str,
)
def test_what_can_not_be_read_as_recipients_is_unknown(info: object) -> None:
    assert recipients_of({"info": info}) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"to": 5}, ErrorCode.VALIDATION, id="invalid"),
        pytest.param(MAIL | {"template": {"name": "x"}}, ErrorCode.TEMPLATE, id="no-templates"),
    ],
)
def test_what_would_become_an_error_is_named_by_its_code(world: World, fields: Entry, code: ErrorCode) -> None:
    entry = world.look(fields, {"state": "SUCCESS", "info": INFO})
    assert (entry["reason"], entry["old_state"], entry["recipients"]) == (code, "SUCCESS", "unknown")
    assert entry["recipients_own"] is None
    assert not {"digest", "bytes", "warnings"} & set(entry)


def test_what_would_be_sent_later_is_named(world: World) -> None:
    version = world.database.put("mail/b", {})
    later = decode_time(version) + timedelta(hours=1)
    assert world.look(MAIL | {"sendAt": later})["reason"] == "scheduled"


def test_a_time_to_send_that_had_come_when_the_mail_was_written_delays_nothing(world: World) -> None:
    assert world.look(MAIL | {"sendAt": datetime(2020, 1, 1, tzinfo=UTC)})["reason"] == "sent"


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"expiresAt": datetime(2020, 1, 1, tzinfo=UTC)}, "expired"),
        ({"expiresAt": datetime(2100, 1, 1, tzinfo=UTC), "sendAt": datetime(2100, 1, 2, tzinfo=UTC)}, "validation"),
        ({"expiresAt": datetime(2100, 1, 1, tzinfo=UTC)}, "sent"),
    ],
    ids=["when-written", "before-it-is-due", "later"],
)
def test_a_mail_that_comes_too_late_would_be_an_error(world: World, times: Entry, reason: str) -> None:
    entry = world.look(MAIL | times)
    assert entry["reason"] == reason
    assert ("digest" in entry) is (reason == "sent")


def test_a_cancelled_mail_has_not_been_ended_by_the_other_system(world: World) -> None:
    entry = world.look(MAIL, {"state": "CANCELLED"})
    assert (entry["reason"], entry["old_state"], entry["recipients"]) == ("sent", "CANCELLED", "unknown")


def test_the_digest_depends_on_the_document_alone(world: World) -> None:
    first = world.look(MAIL)["digest"]
    world.parts.clock = lambda: datetime(2030, 1, 1, tzinfo=UTC)
    world.sender = world.parts.shadow()
    world.database.on_write = lambda path, old, new: None
    assert world.look(MAIL, {"state": "SUCCESS", "startTime": datetime(2029, 1, 1, tzinfo=UTC)})["digest"] == first
    world.database.on_write = lambda path, old, new: None
    assert world.look(MAIL | {"message": {"subject": "s", "text": "u"}})["digest"] != first


def test_an_inline_mail_is_composed_and_creates_no_document(world: World) -> None:
    world.database.on_write = lambda path, old, new: pytest.fail("a document was created")
    assert world.handle({"mail": MAIL, "id": "order-17"}, {}) == HandlerResult(True, "sent")
    entry = world.entry()
    assert (entry["document"], entry["reason"]) == ("mail/order-17", "sent")
    assert not {"old_state", "recipients"} & set(entry)
    assert not world.database.documents


@pytest.mark.parametrize(
    ("data", "attributes"),
    [
        pytest.param(b"hello", SHADOW, id="no-json"),
        pytest.param({"document": "users/a"}, SHADOW, id="foreign-path"),
        pytest.param({"document": "mail/a"}, {"version": "2"}, id="unknown-version"),
    ],
)
def test_a_message_that_can_never_work_is_acknowledged_and_published_nowhere(
    world: World, data: Any, attributes: dict[str, str]
) -> None:
    assert world.handle(data, attributes).acknowledge
    assert world.entry()["event"] == "refusal"
    assert not world.dead_letters.published


def test_a_mail_that_is_gone_is_acknowledged(world: World) -> None:
    assert world.handle() == HandlerResult(True, "deleted")


def test_a_sender_that_sends_refuses_the_messages_of_shadow_mode(world: World) -> None:
    world.put(MAIL)
    raw = json.dumps({"document": "mail/a"}).encode()
    handled = world.parts.sender().handle(ReceivedMessage(raw, SHADOW, "77", None))
    assert handled == HandlerResult(True, "unknown-version")
    assert not world.transport.sent
    [(_, attributes)] = world.dead_letters.published
    assert attributes["reason"] == "unknown-version"


def raising(error: Exception) -> Callable[..., Any]:
    def compose(*args: Any, **kwargs: Any) -> Any:
        raise error

    return compose


@pytest.mark.parametrize(
    "error", [Unavailable("Firestore answered UNAVAILABLE."), Deferred(3, "Too little memory is free.")], ids=repr
)
def test_a_look_that_can_not_be_taken_now_is_left_to_redelivery(world: World, error: Exception) -> None:
    world.put(MAIL)
    world.parts.compose = raising(error)
    with pytest.raises(Unavailable):
        world.handle()


def test_a_document_that_can_not_be_read_now_is_left_to_redelivery(world: World) -> None:
    def get(path: str) -> Snapshot | None:
        raise Unavailable("Firestore answered UNAVAILABLE.")

    world.database.get = get  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        world.handle()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotSendable(ErrorCode.TEMPLATE, "x"), "template"),
        (ZeroDivisionError("ada@example.com"), "validation"),
        (MemoryError(), "temporary"),
    ],
    ids=repr,
)
def test_whatever_goes_wrong_while_composing_is_an_outcome(world: World, error: Exception, code: str) -> None:
    world.parts.compose = raising(error)
    assert world.look(MAIL)["reason"] == code


def test_a_sender_that_shuts_down_looks_at_nothing_new(world: World) -> None:
    world.put(MAIL)
    world.sender.drain()
    assert world.handle() == HandlerResult(False, "released")


def test_a_sender_with_no_free_place_leaves_the_message(world: World) -> None:
    world.put(MAIL)
    world.parts.limits = limits(claimed=1, queue_seconds=0)
    world.sender = world.parts.shadow()
    handled: list[HandlerResult] = []

    def compose(*args: Any, **kwargs: Any) -> Any:
        if not handled:
            handled.append(HandlerResult(True, "placeholder"))
            handled.append(world.handle())
        return COMPOSER(*args, **kwargs)

    world.parts.compose = compose
    assert world.handle().acknowledge
    assert handled[1] == HandlerResult(False, "busy")

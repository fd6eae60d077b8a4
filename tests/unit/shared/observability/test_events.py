"""The vocabulary of log entries: the services log in these words only, and every word is used."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from dispatcher.app import create_app as dispatcher_app
from dispatcher.events import EVENT_TYPE
from sender.entrypoints.push import create_app as sender_app
from sender.transport.routing import Failover, RoutedTransport
from sender.transport.smtp.config import parse_server
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.delivery.pause import control_path
from shared.delivery.policy import Policy
from shared.errors import Deferred, ErrorCode, FirepostError, Outage, Unavailable
from shared.firestore.database import Unwritable, Version, Write
from shared.observability import tracing
from shared.observability.events import FIELDS, Event
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, LIMITS, DispatcherParts, SenderParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher, MemoryTransport
from tests.smtp_server import ScriptedServer
from tests.unit.dispatcher.test_events import body

Entry = dict[str, Any]

HOUR = timedelta(hours=1)
#: Must not be logged: each is in every mail sent here.
PRIVATE = ("ada@example.com", "shop@example.com", "hunter2", "Confidential")
MESSAGE: Entry = {"subject": "Confidential", "text": "Your password is hunter2."}
MAIL: Entry = {"to": "ada@example.com", "message": MESSAGE}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class World:
    """Both services, with Firestore and Pub/Sub in memory and a real mail server."""

    def __init__(self, smtp: ScriptedServer) -> None:
        self.smtp, self.clock = smtp, Clock()
        self.database, self.topic, self.refused = MemoryDatabase(), MemoryPublisher(), MemoryPublisher()
        policy = Policy(LEASE, max_attempts=2, stranded_after=timedelta(days=20_000))
        # Each clock reading is a millisecond after the previous one.
        ticks = iter(range(10**9))

        def monotonic() -> float:
            return next(ticks) / 1000

        self.handlers = handlers = DispatcherParts(
            policy, self.database, self.topic, clock=self.clock, monotonic=monotonic, patience=0
        ).handlers()
        self.transport = SmtpTransport(parse_server(smtp.uri(), None, None), SmtpLimits(data_margin=0.0))
        self.parts = SenderParts(
            policy, self.database, self.transport, self.refused, self.clock, limits=LIMITS, monotonic=monotonic
        )
        self.sender = self.parts.sender()
        self._dispatcher: FlaskClient = dispatcher_app(handlers, "mail", verifier=None).test_client()
        self._push: FlaskClient = sender_app(self.sender, verifier=None).test_client()

    def event(self, old: Entry | None, new: Entry | None, **headers: str) -> None:
        path = "mail/a"
        if new is not None:
            version = self.database.put(path, new)
            version.seconds = 1_800_000_000  # the version in the event
        headers = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf", **headers}
        self._dispatcher.post("/", data=body(old, new), headers=headers)

    def push(self, data: Any, url_of: str = "sender", **attributes: str) -> None:
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        pushed = {"message": {"data": encoded, "attributes": attributes, "messageId": "77"}}
        if url_of == "sender":
            self._push.post("/", json=pushed)
        else:
            self._dispatcher.post("/dead-letters", json=pushed)

    def look(self, data: Any) -> None:
        self.parts.shadow().handle(ReceivedMessage(json.dumps(data).encode(), {"version": "shadow"}, "77", None))

    def reconcile(self) -> None:
        self._dispatcher.post("/reconcile")


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    caplog.set_level(logging.INFO)
    with ScriptedServer() as smtp:
        world = World(smtp)
        yield world
        world.transport.close()


def entries(caplog: pytest.LogCaptureFixture) -> list[Entry]:
    return [vars(record)["fields"] for record in caplog.records if "event" in vars(record).get("fields", {})]


def a_new_document(world: World) -> None:
    world.event(None, MAIL)


def an_event_that_is_ignored(world: World) -> None:
    world.event({**MAIL, "delivery": {"state": "PENDING"}}, {**MAIL, "delivery": {"state": "SUCCESS"}})
    world.handlers.log_ignored()


def a_mail(world: World) -> None:
    world.database.put("mail/a", MAIL)
    world.push({"document": "mail/a"})


def a_mail_after_the_server_hung_up(world: World) -> None:
    world.push({"mail": MAIL, "id": "first"})
    session = world.smtp.sessions[0]
    session.hang_up()
    world.smtp.wait_until(lambda: session.ended)
    world.push({"mail": MAIL, "id": "second"})


def a_mail_that_is_refused(world: World) -> None:
    world.smtp.when("RCPT").reply("550 5.1.1 No ada@example.com here")
    world.push({"mail": MAIL, "id": "refused"})


def a_mail_that_one_recipient_does_not_get(world: World) -> None:
    world.smtp.when("RCPT", "ada@").reply("550 5.1.1 No ada@example.com here")
    world.push({"mail": {**MAIL, "to": ["ada@example.com", "bob@example.com"]}, "id": "partial"})


def a_mail_to_be_tried_again(world: World) -> None:
    world.smtp.when("RCPT").reply("451 4.3.0 Later, ada@example.com")
    world.push({"mail": MAIL, "id": "again"})


def a_mail_that_expires_before_it_could_be_tried_again(world: World) -> None:
    world.smtp.when("RCPT").reply("451 4.3.0 Later, ada@example.com")
    world.push({"mail": {**MAIL, "expiresAt": (world.clock.now + timedelta(seconds=1)).isoformat()}, "id": "expires"})


def a_mail_that_is_invalid(world: World) -> None:
    world.push({"mail": {**MAIL, "to": "ada@example.com hunter2"}, "id": "invalid"})


def a_message_for_nothing(world: World) -> None:
    world.push({"document": "mail/nobody"})


def a_message_that_is_none(world: World) -> None:
    world.push({"document": "mail/a", "to": "ada@example.com"})


def the_end_of_a_sender(world: World) -> None:
    def compose(*args: Any, **kwargs: Any) -> Any:
        world.sender.drain()
        return COMPOSER(*args, **kwargs)

    world.parts.compose = compose
    world.push({"mail": MAIL, "id": "released"})


def a_server_that_throttles(world: World) -> None:
    world.smtp.when("MAIL").reply("421 4.7.0 Too many mails")
    for number in range(6):
        world.push({"mail": MAIL, "id": f"throttled-{number}"})


def a_server_that_wants_less_at_a_time(world: World) -> None:
    world.smtp.when("RCPT").reply("450 4.7.1 Too many messages at a time")
    _send_anew(world, "less")


def a_server_that_is_out(world: World) -> None:
    world.smtp.when("CONNECT").drop()
    _send_anew(world, "out", 4)


def mails_that_have_waited_for_their_server(world: World) -> None:
    out = MemoryTransport()
    out.fail = Outage(ErrorCode.CONNECTION, "Nobody there for ada@example.com.")
    sender = replace(world.parts, transport=out).sender()
    for waited in (HOUR / 2, HOUR):
        delivery = {"state": "PENDING", "attempts": 0, "outageTime": world.clock.now - waited}
        world.database.put("mail/a", {**MAIL, "delivery": delivery})
        sender.handle(ReceivedMessage(b'{"document": "mail/a"}', {}, "77", None))


def a_mail_through_another_transport(world: World) -> None:
    own = MemoryTransport()
    own.fail = Outage(ErrorCode.CONNECTION, "Nobody there for ada@example.com.")
    failover = {"default": Failover("spare", frozenset({"example.com"}))}
    transport = RoutedTransport({"default": own, "spare": MemoryTransport()}, failover)
    data = json.dumps({"mail": MAIL, "id": "through-another"}).encode()
    replace(world.parts, transport=transport).sender().handle(ReceivedMessage(data, {}, "77", None))


def _send_anew(world: World, what: str, mails: int = 1) -> None:
    """Send mails by a sender that has just been started."""
    with closing(SmtpTransport(parse_server(world.smtp.uri(), None, None))) as transport:
        sender = replace(world.parts, transport=transport).sender()
        for number in range(mails):
            data = json.dumps({"mail": MAIL, "id": f"{what}-{number}"}).encode()
            sender.handle(ReceivedMessage(data, {}, "77", None))


def a_dead_letter(world: World) -> None:
    world.database.put("mail/a", MAIL | {"delivery": {"state": "RETRY"}})
    world.push({"document": "mail/a"}, "dispatcher", CloudPubSubDeadLetterSourceDeliveryCount="5")


def a_dead_letter_that_the_sender_made(world: World) -> None:
    world.push({"mail": MAIL, "id": "x"}, "dispatcher", reason="id-conflict")


def messages_about_a_held_mail(world: World) -> None:
    end = world.clock.now + LEASE
    lease = {"state": "PROCESSING", "attempts": 1, "leaseExpireTime": end, "unsentLease": end}
    world.event(None, {**MAIL, "sendAt": world.clock.now, "delivery": lease})
    world.push({"document": "mail/a"})
    world.push({"document": "mail/a"}, "dispatcher", CloudPubSubDeadLetterSourceDeliveryCount="5")


def a_lease_that_has_expired(world: World) -> None:
    lease = {"state": "PROCESSING", "attempts": 1, "leaseExpireTime": world.clock.now}
    world.event(None, {**MAIL, "delivery": lease})


def an_attempt_after_an_expired_lease_whose_document_changes(world: World) -> None:
    end = world.clock.now
    expired = {"state": "RETRY", "attempts": 1, "leaseExpireTime": end, "unsentLease": end}
    world.event(None, {**MAIL, "sendAt": world.clock.now, "delivery": expired})
    world.parts.compose = lambda *args, **kwargs: _editing(world, *args, **kwargs)
    world.push({"document": "mail/a"})


def claims_whose_answers_are_lost(world: World) -> None:
    def compose(*args: Any, **kwargs: Any) -> Any:
        raise Deferred(3.0, "later")

    for world.parts.compose in (COMPOSER, compose):
        world.database.put("mail/a", MAIL)
        world.database.lose_answers = 1
        world.push({"document": "mail/a"})
    world.parts.compose = COMPOSER


def a_released_claim_after_an_expired_lease_whose_document_changes(world: World) -> None:
    def compose(*args: Any, **kwargs: Any) -> Any:
        raise Deferred(3.0, "later")

    an_attempt_after_an_expired_lease_whose_document_changes(world)
    end = world.clock.now
    lease = {"state": "RETRY", "attempts": 1, "leaseExpireTime": end, "unsentLease": end}
    world.database.put("mail/a", {**MAIL, "sendAt": world.clock.now, "delivery": lease})
    world.parts.compose = lambda *args, **kwargs: _editing(world, *args, compose=compose, **kwargs)
    world.push({"document": "mail/a"})


def _editing(world: World, *args: Any, compose: Any = COMPOSER, **kwargs: Any) -> Any:
    world.database.edit("mail/a", {"note": "mine"})
    return compose(*args, **kwargs)


def pubsub_refuses_a_message(world: World) -> None:
    world.topic.refusing = True
    world.event(None, MAIL)
    world.topic.refusing = False


def a_run_of_the_reconciler(world: World) -> None:
    world.database.put("mail/due", {**MAIL, "delivery": {"state": "RETRY", "nextAttemptTime": world.clock.now}})
    left = {"state": "PROCESSING", "leaseExpireTime": world.clock.now, "unsentLease": world.clock.now}
    world.database.put("mail/left", {**MAIL, "delivery": left})
    later = world.clock.now + HOUR
    world.database.put("mail/moved", {**MAIL, "sendAt": later, "delivery": {"state": "PENDING"}})
    world.database.put("mail/over", {**MAIL, "delivery": {"state": "ERROR", "nextAttemptTime": world.clock.now}})
    world.database.put("mail/late", {**MAIL, "expiresAt": world.clock.now, "delivery": {"state": "PENDING"}})
    never = {"sendAt": later, "expiresAt": later}
    world.database.put("mail/never", {**MAIL, **never, "delivery": {"state": "PENDING"}})
    world.reconcile()


def runs_during_and_after_a_pause(world: World) -> None:
    now, parts = world.clock.now, DispatcherParts(Policy(LEASE), world.database, world.topic, clock=world.clock)
    world.database.put("mail/lost", {**MAIL, "delivery": {"state": "PENDING"}})
    world.database.put(control_path("mail"), {"pausedTime": now})
    parts.reconciler().run()
    waits = {"state": "PENDING", "startTime": now - HOUR, "nextAttemptTime": now + 23 * HOUR}
    world.database.put("mail/waits", {**MAIL, "delivery": waits})
    resumed = {"time": now, "rate": 1.0, "granted": now, "gathered": False}
    world.database.put(control_path("mail"), {"resumed": resumed})
    parts.reconciler().run()


def a_look_in_shadow_mode(world: World) -> None:
    delivery = {"state": "SUCCESS", "info": {"accepted": ["ada@example.com"], "rejected": [], "pending": []}}
    world.database.put("mail/a", MAIL | {"delivery": delivery})
    world.look({"document": "mail/a"})


def a_look_at_an_error(world: World) -> None:
    error = "Error: Message failed: 550 5.1.1 No ada@example.com here"
    world.database.put("mail/a", {**MAIL, "to": "hunter2", "delivery": {"state": "ERROR", "error": error}})
    world.look({"document": "mail/a"})


WORK = (
    a_look_in_shadow_mode,
    a_look_at_an_error,
    a_new_document,
    an_event_that_is_ignored,
    a_mail,
    a_mail_after_the_server_hung_up,
    a_mail_that_is_refused,
    a_mail_that_one_recipient_does_not_get,
    a_mail_to_be_tried_again,
    a_mail_that_expires_before_it_could_be_tried_again,
    a_server_that_wants_less_at_a_time,
    a_server_that_is_out,
    mails_that_have_waited_for_their_server,
    a_mail_through_another_transport,
    a_mail_that_is_invalid,
    a_message_for_nothing,
    a_message_that_is_none,
    the_end_of_a_sender,
    claims_whose_answers_are_lost,
    a_released_claim_after_an_expired_lease_whose_document_changes,
    a_server_that_throttles,
    a_dead_letter,
    a_dead_letter_that_the_sender_made,
    messages_about_a_held_mail,
    a_lease_that_has_expired,
    pubsub_refuses_a_message,
    a_run_of_the_reconciler,
    runs_during_and_after_a_pause,
)

ADA = "ada@example.com"


def _refusing(world: World) -> None:
    """Let Firestore refuse every write, in words that quote the document."""
    words = f"Property `{ADA}` of the document with 'hunter2' is too large"
    world.database.write = lambda writes: [Unwritable(words) for _ in writes]  # type: ignore[method-assign]

    def transact(path: str, decide: Any) -> Any:
        raise Unwritable(words)

    world.database.transact = transact  # type: ignore[method-assign]


def firestore_refuses_a_mark(world: World) -> None:
    _refusing(world)
    world.event(None, MAIL)


def firestore_refuses_a_note(world: World) -> None:
    _refusing(world)
    a_run_of_the_reconciler(world)


def firestore_refuses_a_claim(world: World) -> None:
    world.database.put("mail/a", MAIL)
    _refusing(world)
    world.push({"document": "mail/a"})


def firestore_refuses_a_published_mail(world: World) -> None:
    _refusing(world)
    world.push({"mail": {**MAIL, ADA: {ADA: "x"}}, "id": "a"})


def firestore_refuses_a_conclusion(world: World) -> None:
    world.database.put("mail/a", MAIL)
    _refusing(world)
    world.push({"document": "mail/a"}, "dispatcher", reason="unwritable", error=f"Property `{ADA}` is too large")


def addresses_as_names_of_fields(world: World) -> None:
    world.event(None, {**MAIL, ADA: {ADA: [ADA]}, "delivery": {"state": ADA, ADA: "hunter2"}})
    world.push({"mail": {**MAIL, "headers": {f"X {ADA}": "hunter2"}}, "id": "headers"})
    world.push({"mail": {**MAIL, "message": {ADA: "hunter2", **MESSAGE}}, "id": "message"})
    world.push({"mail": {**MAIL, "template": {"name": ADA, "data": {ADA: "hunter2"}}}, "id": "template"})
    world.push({"mail": {**MAIL, "delivery": {ADA: "hunter2"}}, "id": "delivery"})


def addresses_as_ids_of_users(world: World) -> None:
    world.push({"mail": {**MAIL, "toUids": [ADA], "bccUids": ["hunter2"]}, "id": "uids"})


def addresses_in_urls(world: World) -> None:
    for number, url in enumerate((f"https://{ADA}/hunter2", f"gs://{ADA}/hunter2", f"file:///{ADA}", f"data:{ADA}")):
        message = {**MESSAGE, "attachments": [{"path": url, "filename": ADA}]}
        world.push({"mail": {**MAIL, "message": message}, "id": f"url-{number}"})


def addresses_in_replies(world: World) -> None:
    for number, step in enumerate(("MAIL", "RCPT", "DATA", "BODY")):
        world.smtp.when(step).reply(f"451 4.3.0 {ADA} said hunter2")
        world.push({"mail": MAIL, "id": f"reply-{number}"})
        world.smtp.forget_rules()


def addresses_in_a_message_that_is_none(world: World) -> None:
    for data in (ADA, [ADA], {ADA: "hunter2"}, {"document": ADA}, {"document": f"{ADA}/a"}, {"mail": ADA, "id": "x"}):
        world.push(data, version=ADA)
        world.push(data, **{ADA: "hunter2"})
        world.push(data, "dispatcher", reason=ADA, error="hunter2")


PROTOBUF = {"Content-Type": "application/protobuf"}


def addresses_in_an_event_that_is_none(world: World) -> None:
    world._dispatcher.post("/", data=ADA.encode(), headers=PROTOBUF | {"ce-type": ADA})
    world._dispatcher.post("/", data=ADA.encode(), headers=PROTOBUF | {"ce-type": EVENT_TYPE})
    event = body(None, MAIL, path=f"{ADA}/hunter2")
    world._dispatcher.post("/", data=event, headers=PROTOBUF | {"ce-type": EVENT_TYPE})


#: Work with private words in unusual places, which errors of others like to quote.
ODD_WORK = (
    firestore_refuses_a_mark,
    firestore_refuses_a_note,
    firestore_refuses_a_claim,
    firestore_refuses_a_published_mail,
    firestore_refuses_a_conclusion,
    addresses_as_names_of_fields,
    addresses_as_ids_of_users,
    addresses_in_urls,
    addresses_in_replies,
    addresses_in_a_message_that_is_none,
    addresses_in_an_event_that_is_none,
)


@pytest.mark.parametrize("work", (*WORK, *ODD_WORK))
def test_all_logs_use_the_vocabulary_and_nothing_private(
    world: World, caplog: pytest.LogCaptureFixture, work: Any
) -> None:
    work(world)
    said = entries(caplog)
    assert said
    for entry in said:
        strangers = set(entry) - {"event", *FIELDS[Event(entry["event"])]}
        assert not strangers, f"{entry['event']} has fields that are not in the vocabulary: {strangers}"
    lines = [str(vars(record)) for record in caplog.records]
    assert not [word for word in PRIVATE for line in lines if word in line]


def test_no_word_and_no_field_of_the_vocabulary_is_idle(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAIL, "expiresAt", "2100-01-01T00:00:00Z")
    for work in WORK:
        if work is not the_end_of_a_sender:
            work(world)
            world.smtp.forget_rules()
            world.clock.advance(HOUR)
    said: dict[str, set[str]] = {}
    for entry in entries(caplog):
        said.setdefault(entry["event"], set()).update(entry)
    idle_here = {"stranded"}  # needs another policy; see the reconciler's own tests
    for event, fields in FIELDS.items():
        assert {*fields} - said.get(event, set()) - idle_here == set(), f"never said by {event}"


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        pytest.param(
            a_new_document,
            {
                "event": "change",
                "document": "mail/a",
                "reason": "new",
                "before": None,
                "after": None,
                "published": True,
                "written": True,
                "marked_after_ms": 0.0,
                "duration_ms": 1.0,
            },
            id="change",
        ),
        pytest.param(an_event_that_is_ignored, {"event": "ignored", "reason": "final-state", "count": 1}, id="ignored"),
        pytest.param(
            a_mail,
            {
                "event": "attempt",
                "document": "mail/a",
                "attempt": 1,
                "before": None,
                "after": "SUCCESS",
                "reason": "sent",
                "written": "finished",
                "claim_ms": 1.0,
                "compose_ms": 1.0,
                "send_ms": 1.0,
                "finish_ms": 1.0,
                "duration_ms": 9.0,
                "begun_ms": 0.0,
                "accepted_after_ms": 0.0,
            },
            id="attempt",
        ),
        pytest.param(
            a_mail_to_be_tried_again,
            {
                "event": "attempt",
                "document": "mail/again",
                "attempt": 1,
                "before": None,
                "after": "RETRY",
                "reason": "temporary",
                "unsettled": True,
                "next_ms": 15_000.0,
                "written": "finished",
                "claim_ms": 1.0,
                "compose_ms": 1.0,
                "send_ms": 1.0,
                "finish_ms": 1.0,
                "duration_ms": 9.0,
                "begun_ms": 0.0,
            },
            id="attempt that another one follows",
        ),
        pytest.param(
            a_mail_that_expires_before_it_could_be_tried_again,
            {
                "event": "attempt",
                "document": "mail/expires",
                "attempt": 1,
                "before": None,
                "after": "ERROR",
                "reason": "temporary",
                "unsettled": True,
                "expired": True,
                "written": "finished",
                "claim_ms": 1.0,
                "compose_ms": 1.0,
                "send_ms": 1.0,
                "finish_ms": 1.0,
                "duration_ms": 9.0,
                "begun_ms": 0.0,
                "expires_ms": 1000.0,
            },
            id="attempt after which the mail expires",
        ),
        pytest.param(
            a_mail_that_one_recipient_does_not_get,
            {
                "event": "attempt",
                "document": "mail/partial",
                "attempt": 1,
                "before": None,
                "after": "SUCCESS",
                "reason": "sent",
                "written": "finished",
                "claim_ms": 1.0,
                "compose_ms": 1.0,
                "send_ms": 1.0,
                "finish_ms": 1.0,
                "duration_ms": 9.0,
                "begun_ms": 0.0,
                "accepted_after_ms": 0.0,
                "rejected": 1,
                "pending": 0,
            },
            id="attempt that one recipient does not get",
        ),
        pytest.param(
            the_end_of_a_sender,
            {
                "event": "deferral",
                "document": "mail/released",
                "attempt": 1,
                "before": None,
                "reason": "released",
                "written": "released",
            },
            id="deferral",
        ),
        pytest.param(
            mails_that_have_waited_for_their_server,
            {
                "event": "attempt",
                "document": "mail/a",
                "attempt": 1,
                "before": "PENDING",
                "outage_ms": -3_600_000.0,
                "after": "ERROR",
                "reason": "connection",
                "outage": True,
                "written": "finished",
                "claim_ms": 1.0,
                "compose_ms": 1.0,
                "send_ms": 1.0,
                "finish_ms": 1.0,
                "duration_ms": 9.0,
                "begun_ms": 0.0,
            },
            id="attempt after which a mail has waited long enough for its server",
        ),
        pytest.param(
            a_message_for_nothing,
            {"event": "message", "document": "mail/nobody", "reason": "deleted", "acknowledged": True},
            id="message",
        ),
        pytest.param(
            a_message_that_is_none,
            {"event": "refusal", "message_id": "77", "reason": "wrong-shape"},
            id="refusal",
        ),
        pytest.param(
            a_dead_letter,
            {
                "event": "dead-letter",
                "document": "mail/a",
                "message_id": "77",
                "reason": "dead-letter",
                "before": "RETRY",
            },
            id="dead letter",
        ),
        pytest.param(
            a_dead_letter_that_the_sender_made,
            {"event": "dead-letter", "message_id": "77", "reason": "refused"},
            id="dead letter of the sender's",
        ),
    ],
)
def test_entry(world: World, caplog: pytest.LogCaptureFixture, work: Any, expected: Entry) -> None:
    work(world)
    said = entries(caplog)[-1]
    if "marked_after_ms" in said:  # by the real clock
        said = {**said, "marked_after_ms": 0.0}
    assert said == expected


def test_a_run_is_counted_also_when_firestore_fails(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(writes: Sequence[Write]) -> list[Version | FirepostError]:
        return [Unavailable("Firestore is away") for _ in writes]

    monkeypatch.setattr(world.database, "write", unavailable)
    a_run_of_the_reconciler(world)
    last = entries(caplog)[-1]
    assert (last["event"], last["complete"], last["examined"]) == ("reconciler-run", False, 7)


class TestAcceptedAfter:
    """From the mail's start to the server's acceptance: the time that users wait."""

    def accepted_after(self, world: World, caplog: pytest.LogCaptureFixture, fields: Entry) -> float | None:
        world.database.put("mail/a", {**MAIL, **fields})
        world.push({"document": "mail/a"})
        seconds: float | None = entries(caplog)[-1].get("accepted_after_ms")
        return None if seconds is None else seconds / 1000

    def test_it_counts_from_when_the_mail_was_queued(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        delivery = {"state": "PENDING", "startTime": world.clock.now - HOUR}
        assert self.accepted_after(world, caplog, {"delivery": delivery}) == 3600

    def test_or_from_when_it_was_to_be_sent(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        delivery = {"state": "PENDING", "startTime": world.clock.now - HOUR}
        send_at = world.clock.now - timedelta(seconds=7)
        assert self.accepted_after(world, caplog, {"delivery": delivery, "sendAt": send_at}) == 7

    def test_a_concluded_mail_has_none(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        ended = {"state": "RETRY", "startTime": world.clock.now - HOUR, "endTime": world.clock.now - HOUR}
        assert self.accepted_after(world, caplog, {"delivery": ended}) is None


class Traces(logging.Handler):
    """Records the trace in which each entry about work was written."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, dict[str, str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if event := vars(record).get("fields", {}).get("event"):
            self.seen[event] = tracing.attributes()


@pytest.fixture
def traces() -> Iterator[Traces]:
    handler = Traces()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_one_trace_leads_from_the_documents_event_to_the_end_of_the_attempt(world: World, traces: Traces) -> None:
    world.event(None, MAIL, traceparent=PARENT)
    ((data, attributes),) = world.topic.published
    world.push(json.loads(data), **attributes)
    assert traces.seen["change"] == traces.seen["attempt"] == {"traceparent": PARENT}


def test_without_a_trace_none_is_created(world: World, traces: Traces) -> None:
    world.event(None, MAIL)
    assert "traceparent" not in world.topic.published[0][1]
    a_mail(world)
    assert traces.seen["attempt"] == {}

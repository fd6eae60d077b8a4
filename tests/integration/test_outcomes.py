"""Documents and messages through the running system: their results, from a user's view."""

from __future__ import annotations

import bisect
import email
import email.policy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument

from tests.integration.system import System, wait_for
from tests.smtp_server import ScriptedServer

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "Hällo", "text": "Guten Tag", "html": "<p>Guten Tag</p>"}
ADA, BOB = "ada@example.com", "bob@example.com"
MAIL = {"to": [ADA, BOB], "message": MESSAGE}

Script = Callable[[ScriptedServer], object]


def test_a_document_becomes_a_mail_and_says_so_with_the_extensions_types(system: System) -> None:
    path = system.write(MAIL)
    delivery = system.concluded(path)
    (mail,) = [mail for mail in system.server.accepted if delivery["info"]["messageId"].encode() in mail.data]
    parsed = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert (parsed["Subject"], parsed["To"]) == ("Hällo", f"{ADA}, {BOB}")
    assert delivery.pop("endTime") >= delivery.pop("startTime")
    assert [entry["state"] for entry in delivery.pop("history")] == ["SUCCESS"]
    assert delivery == {
        "state": "SUCCESS",
        "attempts": 1,
        "error": None,
        "leaseExpireTime": None,
        "info": {
            "messageId": parsed["Message-ID"],
            "sendgridQueueId": None,
            "accepted": [ADA, BOB],
            "rejected": [],
            "pending": [],
            "response": "250 2.0.0 Ok: queued",
        },
    }


@pytest.mark.parametrize(
    ("script", "lists"),
    [
        pytest.param(
            lambda server: server.when("RCPT", BOB).reply("550 5.1.1 No such user"),
            ([ADA], [BOB], []),
            id="550-for-one",
        ),
        pytest.param(
            lambda server: server.when("RCPT", BOB).reply("451 4.3.0 Later"), ([ADA], [], [BOB]), id="451-for-one"
        ),
    ],
)
def test_one_accepted_recipient_is_success(
    system: System, script: Script, lists: tuple[list[str], list[str], list[str]]
) -> None:
    script(system.server)
    info = system.concluded(system.write(MAIL))["info"]
    assert (info["accepted"], info["rejected"], info["pending"]) == lists


def test_a_dead_keep_alive_connection_is_replaced(system: System) -> None:
    system.concluded(system.write(MAIL))
    for session in system.server.sessions:
        system.server.when("MAIL", session=session.number).drop()
    assert system.concluded(system.write(MAIL))["info"]["accepted"] == [ADA, BOB]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        pytest.param(lambda s: s.when("RCPT").reply("550 5.1.1 No"), "rejected", "550 5.1.1 No", id="all-refused"),
        pytest.param(lambda s: s.when("RCPT").reply("451 4.3.0 Later"), "temporary", "451 4.3.0", id="all-deferred"),
        pytest.param(lambda s: s.when("MAIL").reply("550 5.7.1 Spam"), "rejected", "550 5.7.1", id="sender-refused"),
        pytest.param(lambda s: s.when("MAIL").reply("451 4.3.0 Later"), "temporary", "451", id="sender-deferred"),
        pytest.param(lambda s: s.when("MAIL").reply("421 4.7.0 Busy").drop(), "throttled", "421", id="421"),
        pytest.param(lambda s: s.when("BODY").reply("554 5.6.0 Virus"), "rejected", "554 5.6.0", id="mail-refused"),
        pytest.param(lambda s: s.when("BODY").reply("452 4.2.2 Full"), "temporary", "452", id="mail-deferred"),
        pytest.param(lambda s: s.when("DATA").drop(), "connection", "lost", id="lost-before-data"),
        pytest.param(lambda s: s.when("BODY").drop(), "unknown", "lost", id="lost-after-data"),
        pytest.param(lambda s: s.when("RCPT").stall(), "connection", "", id="silent-beyond-the-deadline"),
    ],
)
def test_what_the_mail_server_says_is_the_documents_error(
    system: System, script: Script, code: str, words: str
) -> None:
    script(system.server)
    delivery = system.concluded(system.write(MAIL))
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", code)
    assert words in delivery["error"]
    assert "info" not in delivery
    assert delivery["leaseExpireTime"] is None


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param({"message": MESSAGE}, "'to'", id="no-recipient"),
        pytest.param({"to": ADA}, "'message'", id="neither-message-nor-template"),
        pytest.param({"to": ADA, "message": "Hello"}, "'message'", id="message-not-a-map"),
        pytest.param({"to": 17, "message": MESSAGE}, "'to'", id="to-a-number"),
        pytest.param({"to": [ADA, 17], "message": MESSAGE}, "'to.1'", id="to-with-a-number"),
        pytest.param({"to": "nobody", "message": MESSAGE}, "'to'", id="to-without-at"),
        pytest.param(
            {"to": ADA, "message": MESSAGE, "headers": {"X-A": "b\r\nBcc: c@d.e"}}, "'headers.X-A'", id="crlf"
        ),
        pytest.param({"to": f"{ADA}\r\nBcc: c@d.e", "message": MESSAGE}, "'to'", id="crlf-in-address"),
        pytest.param({"to": ADA, "message": {"subject": "s", "text": 1}}, "'message.text'", id="text-a-number"),
        pytest.param(
            {"to": ADA, "message": {**MESSAGE, "attachments": [{"path": "/etc/passwd"}]}},
            "'message.attachments.0.path'",
            id="local-file",
        ),
        pytest.param({"to": ADA, "template": {"name": "ghost"}}, "'template.name'", id="unknown-template"),
        pytest.param({}, "'to'", id="empty-document"),
    ],
)
def test_a_bad_document_names_the_field(system: System, fields: dict[str, Any], names: str) -> None:
    before = len(system.server.commands)
    delivery = system.concluded(system.write(fields))
    assert delivery["state"] == "ERROR"
    assert names in delivery["error"]
    assert len(system.server.commands) == before


def test_recipients_may_be_user_ids(system: System) -> None:
    system.firestore.document("users/ada").set({"email": "ada-by-id@example.com", "name": "Ada"})
    path = system.write({"toUids": ["ada", "ghost"], "message": MESSAGE})
    info = system.concluded(path)["info"]
    assert (info["accepted"], info["missingUids"]) == (["ada-by-id@example.com"], ["ghost"])


def test_a_template_is_rendered_and_an_edited_one_used_within_seconds(system: System) -> None:
    templates = system.firestore.collection("templates")
    templates.document("signature").set({"partial": True, "html": "<i>{{shop}}</i>"})
    templates.document("hello").set({"subject": "Hello {{name}}", "html": "<p>{{name}}</p>{{> signature}}"})
    document = {"to": "guest@example.com", "template": {"name": "hello", "data": {"name": "A & B", "shop": "Tea"}}}

    def sent() -> Any:
        message_id = system.concluded(system.write(document))["info"]["messageId"]
        (mail,) = [mail for mail in system.server.accepted if message_id.encode() in mail.data]
        return email.message_from_bytes(mail.data, policy=email.policy.default)

    first = sent()
    assert (first["Subject"], first.get_content().strip()) == ("Hello A & B", "<p>A &amp; B</p><i>Tea</i>")
    templates.document("hello").update({"subject": "Bye {{name}}"})
    wait_for(lambda: sent()["Subject"] == "Bye A & B", "the edited template is used")


def test_a_corrected_document_is_sent_on_retry_under_a_new_message_id(system: System) -> None:
    path = system.write({"message": MESSAGE})
    started = system.concluded(path)["startTime"]
    system.retry(path, to=ADA)
    first = system.concluded(path, attempts=2)
    assert (first["state"], first["error"], first["startTime"]) == ("SUCCESS", None, started)
    assert "errorCode" not in first
    system.retry(path)
    assert system.concluded(path, attempts=3)["info"]["messageId"] != first["info"]["messageId"]


def test_an_edit_after_success_sends_nothing(system: System) -> None:
    path = system.write({**MAIL, "to": "once@example.com"})
    system.concluded(path)
    system.firestore.document(path).update({"seen": True})
    later = system.write(MAIL)
    system.concluded(later)
    assert len(system.mails_to("once@example.com")) == 1


@pytest.mark.parametrize(
    "identifier",
    [
        "ends in a space ",
        " begins with one",
        "Helvétios-中-😀",
        '50 % "off" #1 ?&+=:;,<>\\',
        pytest.param("x" * 1_500, id="the longest"),
        pytest.param("é" * 750, id="the longest, not in ASCII"),
    ],
)
def test_any_id_of_firestores_is_a_mails_id(system: System, identifier: str) -> None:
    path = system.write({**MAIL, "to": "any-id@example.com"}, f"mail/{identifier}")
    assert system.concluded(path)["state"] == "SUCCESS"


def test_a_document_of_nearly_a_mebibyte_is_sent(system: System) -> None:
    path = system.write({"to": "big@example.com", "message": {"subject": "big", "text": "x" * 1_040_000}})
    system.publish({"document": path})  # it is too large for an event
    assert system.concluded(path)["state"] == "SUCCESS"


def write_full(system: System, fields: dict[str, Any], room: int) -> str:
    """Write and publish a document of these fields that has `room` bytes less than Firestore's limit."""
    path = system.new_path()
    unwatched = path.replace("mail/", "size/")

    def filled(size: int) -> dict[str, Any]:
        return {**fields, "to": "full@example.com", "message": {"subject": "full", "text": "x" * size}}

    def fits(size: int) -> bool:
        try:
            system.write(filled(size), unwatched)
        except InvalidArgument:
            return False
        return True

    too_much = bisect.bisect_left(range(1_049_000), 1, 1_048_000, key=lambda size: not fits(size))
    system.write(filled(too_much - 1 - room), path)
    system.publish({"document": path})  # it is too large for an event
    return path


def test_a_document_without_room_for_a_result_is_dead_lettered(system: System) -> None:
    path = write_full(system, {}, 0)
    assert system.dead_letter({"document": path})["reason"] == "unwritable"
    assert not system.mails_to("full@example.com")


@pytest.mark.parametrize(("room", "known"), [(60, {"state", "errorCode", "error"}), (10, {"state"})])
def test_a_document_with_too_little_room_for_an_attempt_is_an_error(system: System, room: int, known: set[str]) -> None:
    path = write_full(system, {"delivery": {"state": "RETRY"}}, room)
    delivery = system.ended(path)
    assert (delivery["state"], set(delivery)) == ("ERROR", known)
    assert delivery.get("errorCode", "validation") == "validation"
    assert not system.mails_to("full@example.com")


class TestInlineMessages:
    def test_a_published_mail_gets_a_document_and_is_sent(self, system: System) -> None:
        system.publish({"mail": {**MAIL, "to": "order@example.com"}, "id": "order-17"})
        assert system.concluded("mail/order-17")["state"] == "SUCCESS"
        assert system.document("mail/order-17")["to"] == "order@example.com"

    def test_published_again_it_is_sent_once(self, system: System) -> None:
        inline = {"mail": {**MAIL, "to": "twice@example.com"}, "id": "order-18"}
        for _ in range(5):
            system.publish(inline)
        system.concluded("mail/order-18")
        assert system.push(inline).text == "final-state\n"
        assert len(system.mails_to("twice@example.com")) == 1

    def test_another_mail_under_its_id_is_dead_lettered(self, system: System) -> None:
        system.publish({"mail": MAIL, "id": "order-19"})
        system.concluded("mail/order-19")
        other = {"mail": {**MAIL, "to": "other@example.com"}, "id": "order-19"}
        system.publish(other)
        assert system.dead_letter(other)["reason"] == "id-conflict"
        assert not system.mails_to("other@example.com")

    @pytest.mark.parametrize("with_id", [True, False])
    def test_a_refused_one_says_why_where_its_publisher_looks(self, system: System, with_id: bool) -> None:
        refused = {"mail": {**MAIL, "x": json.loads('{"a":' * 60 + "1" + "}" * 60)}}
        identifier = "order-20" if with_id else ""
        message_id = system.publish({**refused, "id": identifier} if with_id else refused)
        delivery = system.ended(f"mail/{identifier or message_id}")
        assert (delivery["state"], delivery["errorCode"], delivery["attempts"]) == ("ERROR", "validation", 0)
        assert "20 levels" in delivery["error"]
        assert system.document(f"mail/{identifier or message_id}").keys() == {"delivery"}

    def test_without_an_id_pubsubs_is_the_documents(self, system: System) -> None:
        message_id = system.publish({"mail": MAIL})
        assert system.concluded(f"mail/{message_id}")["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"hello", "not-json", id="not-json"),
        pytest.param({"document": "users/ada"}, "foreign-path", id="foreign-path"),
        pytest.param({"documents": ["mail/a"]}, "wrong-shape", id="wrong-shape"),
    ],
)
def test_a_message_that_can_never_work_is_dead_lettered(system: System, data: Any, reason: str) -> None:
    system.publish(data, origin="test")
    attributes = system.dead_letter(data)
    assert (attributes["reason"], attributes["origin"]) == (reason, "test")


def test_a_message_for_a_deleted_document_is_acknowledged(system: System) -> None:
    assert system.push({"document": "mail/never-was"}).text == "deleted\n"


def test_times_are_firestore_timestamps(system: System) -> None:
    delivery = system.concluded(system.write(MAIL))
    assert isinstance(delivery["startTime"], datetime)
    assert isinstance(delivery["endTime"], datetime)


@pytest.mark.parametrize("delivery", [False, 0, "", {}, "x", [1], 5, True, {"attempts": 3}, {"state": None}], ids=repr)
def test_the_dispatcher_replaces_a_delivery_without_a_state(system: System, delivery: object) -> None:
    assert system.concluded(system.write({**MAIL, "delivery": delivery}))["state"] == "SUCCESS"


FAR = datetime(9999, 12, 31, tzinfo=UTC)
INFO: dict[str, Any] = {"accepted": [], "rejected": [], "response": None}

#: Deliveries that applications forge, and the state in which they end.
FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "a lease for ever, queued": ({"state": "RETRY", "leaseExpireTime": FAR}, "SUCCESS"),
    "a lease for ever, in work": ({"state": "PROCESSING", "leaseExpireTime": FAR}, "ERROR"),
    "the most attempts": ({"state": "RETRY", "attempts": 2**63 - 1}, "SUCCESS"),
    "no number of attempts": ({"state": "PENDING", "attempts": True}, "SUCCESS"),
    "a schedule for never": ({"state": "RETRY", "nextAttemptTime": FAR}, "SUCCESS"),
    "another's address": (
        {"state": "RETRY", "resumes": True, "info": {**INFO, "pending": ["victim@example.com"]}},
        "SUCCESS",
    ),
    "a command": (
        {"state": "RETRY", "resumes": True, "info": {**INFO, "pending": ["a@b.c>\r\nRCPT TO:<victim@example.com"]}},
        "SUCCESS",
    ),
    "no addresses": ({"state": "RETRY", "resumes": True, "info": {**INFO, "pending": [{"a": 1}, 5, None]}}, "SUCCESS"),
    "wrong types": (
        {"state": "RETRY", "startTime": 5, "leaseExpireTime": "x", "info": [1], "errorCode": {}, "expireAt": "never"},
        "SUCCESS",
    ),
    "times at the ends": (
        {"state": "RETRY", "startTime": datetime(1, 1, 1, tzinfo=UTC), "endTime": FAR, "republishTime": FAR},
        "SUCCESS",
    ),
}


def test_every_forged_delivery_ends_and_only_the_documents_own_recipients_get_mail(system: System) -> None:
    paths = {
        what: system.write({"to": "own@example.com", "message": MESSAGE, "delivery": forged[0]})
        for what, forged in FORGED.items()
    }
    ended = {what: system.ended(path) for what, path in paths.items()}
    assert {what: delivery["state"] for what, delivery in ended.items()} == {
        w: state for w, (_, state) in FORGED.items()
    }
    assert not [what for what, delivery in ended.items() if delivery.get("errorCode") == "unknown"]
    assert not system.mails_to("victim@example.com")
    assert len(system.mails_to("own@example.com")) == [state for _, state in FORGED.values()].count("SUCCESS")


def test_a_sender_ahead_of_the_dispatcher_replaces_an_empty_delivery(system: System) -> None:
    system.stack.kill("dispatcher")
    path = system.write({**MAIL, "delivery": False})
    system.publish({"document": path})
    delivery = system.concluded(path)
    assert (delivery["state"], delivery["attempts"]) == ("SUCCESS", 1)

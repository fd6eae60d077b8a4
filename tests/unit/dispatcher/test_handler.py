"""The dispatcher over HTTP, with Firestore and Pub/Sub in memory."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from flask.testing import FlaskClient
from google.events.cloud.firestore_v1 import DocumentEventData
from werkzeug.test import TestResponse

from dispatcher import events
from dispatcher.app import create_app
from dispatcher.events import EVENT_TYPE
from dispatcher.handler import Dispatcher
from dispatcher.ignored import PERIOD
from shared.delivery.lanes import Lanes
from shared.delivery.pause import control_path
from shared.delivery.store import MailStore
from shared.errors import Unavailable
from shared.firestore.database import Snapshot, Unwritable
from shared.firestore.values import decode_time
from shared.pubsub.publisher import Message
from tests.assembly import DispatcherParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher
from tests.unit.dispatcher.test_events import ROOT, body

MAIL = {"to": "a@b.c"}
HEADERS = {"ce-type": EVENT_TYPE, "ce-id": "e1", "Content-Type": "application/protobuf"}
#: The time of the services' clock.
NOW = Clock().now


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def topic() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def lifecycle_topic() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def client(database: MemoryDatabase, topic: MemoryPublisher, lifecycle_topic: MemoryPublisher) -> FlaskClient:
    parts = DispatcherParts(database=database, topic=topic, lifecycle=lifecycle_topic)
    return create_app(parts.handlers(), "mail", verifier=None).test_client()


def post(client: FlaskClient, data: bytes, event_type: str = EVENT_TYPE) -> TestResponse:
    return client.post("/", data=data, headers={"ce-type": event_type, "Content-Type": "application/protobuf"})


def just_written(database: MemoryDatabase) -> None:
    """Store the document that the event of `body(None, MAIL)` describes."""
    database.put("mail/a", MAIL)
    version = database.documents["mail/a"].version
    version.seconds = 1_800_000_000


def test_a_new_document_is_published_then_marked_pending(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    just_written(database)
    database.on_write = lambda path, old, new: topic.published or pytest.fail("written before it was published")
    response = post(client, body(None, MAIL))
    assert (response.status_code, response.text) == (200, "new\n")
    assert topic.published[0][1] == {"document": "mail/a", "reason": "new", "version": "1"}
    assert database.documents["mail/a"].fields["delivery"]["state"] == "PENDING"


@pytest.mark.parametrize(
    ("fields", "lane"),
    [({"lane": "bulk"}, "bulk"), ({"template": {"name": "news"}}, "bulk"), ({"lane": "fast"}, None), ({}, None)],
)
def test_the_message_has_the_lane_as_an_attribute(fields: dict[str, Any], lane: str | None) -> None:
    topic = MemoryPublisher()
    parts = DispatcherParts(topic=topic, lanes=Lanes.parse("bulk=template:news"))
    post(create_app(parts.handlers(), "mail", verifier=None).test_client(), body(None, MAIL | fields))
    assert [attributes.get("lane") for _, attributes in topic.published] == [lane]


def test_a_document_that_has_changed_since_is_not_written(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    database.put("mail/a", MAIL)
    assert post(client, body(None, MAIL)).status_code == 200
    assert "delivery" not in database.documents["mail/a"].fields
    assert len(topic.published) == 1


@pytest.mark.parametrize(
    ("times", "reason", "code"),
    [
        pytest.param({"expiresAt": NOW}, "expired", "expired", id="expired"),
        pytest.param({"sendAt": NOW, "expiresAt": NOW}, "invalid", "validation", id="never-due"),
    ],
)
@pytest.mark.parametrize("delivery", [{}, {"delivery": {}}, {"delivery": "x"}, {"delivery": {"attempts": 7}}], ids=str)
def test_a_new_document_that_can_not_be_sent_in_time_ends_at_once(
    client: FlaskClient,
    database: MemoryDatabase,
    topic: MemoryPublisher,
    times: dict[str, Any],
    reason: str,
    code: str,
    delivery: dict[str, Any],
) -> None:
    mail = {**MAIL, **times, **delivery}
    database.put("mail/a", mail).seconds = 1_800_000_000
    assert post(client, body(None, mail)).text == f"{reason}\n"
    assert not topic.published
    found = database.documents["mail/a"].fields["delivery"]
    assert (found["state"], found["errorCode"], found["attempts"]) == ("ERROR", code, 0)
    assert (found["startTime"], found["endTime"], found["leaseExpireTime"]) == (NOW, NOW, None)
    assert "nextAttemptTime" not in found


def test_nothing_is_read_but_now_and_then_what_is_paused(
    client: FlaskClient, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def read(paths: Sequence[str]) -> list[Snapshot | None]:
        reads.extend(paths)
        return [None for _ in paths]

    just_written(database)
    monkeypatch.setattr(database, "read", read)
    pending = {**MAIL, "delivery": {"state": "PENDING"}}
    assert post(client, body(MAIL, pending)).text == "own-write\n"
    assert reads == []
    for _ in range(3):
        assert post(client, body(None, MAIL)).status_code == 200
    assert reads == [control_path("mail")]


def test_while_the_topic_is_broken_eventarc_retries(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    just_written(database)
    topic.broken = True
    assert post(client, body(None, MAIL)).status_code == 503
    assert "delivery" not in database.documents["mail/a"].fields
    topic.broken = False
    assert post(client, body(None, MAIL)).status_code == 200


@pytest.mark.parametrize("data", [b"hello!", b"{", b'{"message": {}}', b"\x0a\xff", b"{" * 5000, body(None, {}, "a/b")])
def test_an_invalid_event_is_acknowledged_with_one_log_line_that_is_counted(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """Eventarc retries anything but 2xx for a day."""
    with caplog.at_level(logging.INFO):
        response = post(client, data)
    assert response.status_code == 200
    assert response.text.startswith("invalid-event: ")
    [record] = caplog.records
    assert record.__dict__["fields"] == {"event": "change", "reason": "invalid-event"}


@pytest.mark.parametrize("place", ["sendAt", "expiresAt", "delivery"])
@pytest.mark.parametrize("seconds", [-(2**63), -62_135_596_801, 253_402_300_800, 2**63 - 1])
def test_a_time_beyond_the_calendar_does_not_loop(client: FlaskClient, place: str, seconds: int) -> None:
    event = DocumentEventData.pb()()
    event.value.name = f"{ROOT}/mail/a"
    time = event.value.fields[place]
    if place == "delivery":
        time.map_value.fields["state"].string_value = "PROCESSING"
        time = time.map_value.fields["leaseExpireTime"]
    time.timestamp_value.seconds = seconds
    assert post(client, event.SerializeToString()).status_code == 200


class TestRawEnvelope:
    """Eventarc's form of an event with an attribute that is not a valid HTTP header."""

    def envelope(self, attributes: Any, data: bytes) -> dict[str, Any]:
        message = {"attributes": attributes, "data": base64.b64encode(data).decode(), "messageId": "1"}
        return {"message": message, "subscription": "projects/p/subscriptions/eventarc-1"}

    def test_is_parsed_like_the_other_form(
        self, client: FlaskClient, topic: MemoryPublisher, lifecycle_topic: MemoryPublisher
    ) -> None:
        attributes = {"ce-type": EVENT_TYPE, "ce-id": "e1", "ce-source": "//firestore", "ce-document": "mail/a "}
        response = client.post("/", json=self.envelope(attributes, body(None, MAIL, "mail/a ")))
        assert (response.status_code, response.text) == (200, "new\n")
        assert json.loads(topic.published[0][0]) == {"document": "mail/a "}
        assert lifecycle_topic.published[0][1]["ce-id"] == "e1/onStart"

    def test_the_headers_are_ignored(self, client: FlaskClient) -> None:
        pushed = self.envelope({"ce-type": EVENT_TYPE}, body(None, MAIL))
        headers = {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}
        assert client.post("/", json=pushed, headers=headers).text == "new\n"

    @pytest.mark.parametrize("attributes", [None, [], {}, {"ce-type": 1}, {"ce-type": "another"}])
    def test_an_invalid_one_is_acknowledged(self, client: FlaskClient, attributes: Any) -> None:
        response = client.post("/", json=self.envelope(attributes, body(None, MAIL)))
        assert response.status_code == 200
        assert response.text.startswith("invalid-event: ")


def test_an_oversized_body_is_rejected(client: FlaskClient) -> None:
    assert post(client, b"x" * 20_000_000).status_code == 413


def test_the_health_check_answers(client: FlaskClient) -> None:
    assert client.get("/health").status_code == 200


def test_a_bug_is_a_500_so_that_the_event_is_delivered_again(
    client: FlaskClient, topic: MemoryPublisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(messages: Sequence[Message]) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(topic, "publish_all", broken)
    response = post(client, body(None, MAIL))
    assert (response.status_code, response.text) == (500, "Internal error.\n")
    assert caplog.records[-1].message == "unforeseen error"


def test_reconcile_answers_with_a_summary(client: FlaskClient) -> None:
    assert client.post("/reconcile").json == {"complete": True}


class TestUnpublishable:
    """Pub/Sub refuses the message for good: the event is not repeated for a day, and the document says why."""

    def test_a_new_document_becomes_an_error(
        self, client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        just_written(database)
        topic.refusing = True
        assert post(client, body(None, MAIL)).status_code == 200
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["errorCode"], delivery["attempts"]) == ("ERROR", "dead-letter", 0)
        assert "Pub/Sub refuses the message" in delivery["error"]
        [change] = [fields for record in caplog.records if (fields := vars(record).get("fields", {})).get("event")]
        assert (change["published"], change["written"]) == (False, None)

    def test_a_refused_lifecycle_event_is_left_out(
        self, client: FlaskClient, lifecycle_topic: MemoryPublisher, topic: MemoryPublisher
    ) -> None:
        lifecycle_topic.refusing = True
        assert post(client, body(None, MAIL)).status_code == 200
        assert len(topic.published) == 1


class TestIgnoredEvents:
    """Ignored events are counted, and the counts are logged."""

    @pytest.fixture
    def seconds(self) -> list[float]:
        """The dispatcher's clock: the last entry is the current time."""
        return [100.0]

    @pytest.fixture
    def dispatcher(self, seconds: list[float], caplog: pytest.LogCaptureFixture) -> Dispatcher:
        caplog.set_level(logging.INFO)
        return DispatcherParts(monotonic=lambda: seconds[-1]).dispatcher()

    def happen(self, dispatcher: Dispatcher, *deliveries: dict[str, str] | None) -> None:
        for delivery in deliveries:
            change = events.parse(EVENT_TYPE, body(MAIL, delivery and {**MAIL, "delivery": delivery}), "mail")
            dispatcher.handle(change)

    def counts(self, caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
        entries = (vars(record).get("fields", {}) for record in caplog.records)
        found = [(entry["reason"], entry["count"]) for entry in entries if entry.get("event") == "ignored"]
        caplog.clear()
        return found

    def test_are_logged_once_per_period(
        self, dispatcher: Dispatcher, seconds: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        pending, ended = {"state": "PENDING"}, {"state": "SUCCESS"}
        self.happen(dispatcher, pending, ended, ended)
        assert self.counts(caplog) == []
        seconds.append(seconds[-1] + PERIOD)
        self.happen(dispatcher, None)
        assert self.counts(caplog) == [("own-write", 1), ("final-state", 2), ("deleted", 1)]
        self.happen(dispatcher, ended)
        assert self.counts(caplog) == []

    def test_are_logged_by_the_reconciler_s_run(self, caplog: pytest.LogCaptureFixture) -> None:
        """So that an idle service logs them, too."""
        caplog.set_level(logging.INFO)
        client = create_app(DispatcherParts().handlers(), "mail", verifier=None).test_client()
        post(client, body(MAIL, None))
        client.post("/reconcile")
        assert self.counts(caplog)[0] == ("deleted", 1)

    def test_are_logged_at_the_end(self, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
        self.happen(dispatcher, None)
        dispatcher.log_ignored()
        assert self.counts(caplog) == [("deleted", 1)]

    def test_an_unknown_state_is_a_separate_warning(
        self, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.happen(dispatcher, {"state": "ODD"})
        assert [(record.levelname, vars(record)["fields"]["reason"]) for record in caplog.records] == [
            ("WARNING", "unknown-state")
        ]


class TestDeadLetters:
    GIVEN_UP: ClassVar = {"CloudPubSubDeadLetterSourceDeliveryCount": "5"}

    def push(
        self, client: FlaskClient, data: Any, attributes: dict[str, str], published: str = "2026-11-24T12:00:00Z"
    ) -> str:
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        pushed = {"message": {"data": encoded, "attributes": attributes, "messageId": "7", "publishTime": published}}
        return client.post("/dead-letters", json=pushed).text

    def test_a_message_given_up_by_pubsub_is_an_error_on_its_document(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        database.put("mail/a", MAIL | {"delivery": {"state": "RETRY"}})
        assert self.push(client, {"document": "mail/a"}, self.GIVEN_UP) == "dead-letter\n"
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "dead-letter")
        assert delivery["error"] == "Pub/Sub gave the message up after 5 deliveries."

    def test_a_mail_that_no_sender_took_stays_queued(self, client: FlaskClient, database: MemoryDatabase) -> None:
        database.put("mail/a", MAIL)
        assert self.push(client, {"document": "mail/a"}, self.GIVEN_UP) == "scheduled\n"
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["nextAttemptTime"]) == ("PENDING", delivery["startTime"])

    def test_a_dispatched_message_that_the_sender_rejected_is_an_error_on_its_document(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        """Otherwise the reconciler would publish it again and again."""
        database.put("mail/a", MAIL | {"delivery": {"state": "PENDING"}})
        refused = {"version": "1", "reason": "odd", "error": "…"}
        assert self.push(client, {"document": "mail/a"}, refused) == "dead-letter\n"
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "dead-letter")
        assert delivery["error"] == "The sender refused the message (odd)."

    def test_a_document_that_can_t_be_claimed_says_why(self, client: FlaskClient, database: MemoryDatabase) -> None:
        database.put("mail/a", MAIL | {"delivery": {"state": "PENDING"}})
        self.push(client, {"document": "mail/a"}, {"reason": "unwritable", "error": "Firestore refuses it: too large"})
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "validation")
        assert delivery["error"] == "Firestore refuses it: too large"

    MARK: ClassVar = {"state": "PENDING", "attempts": 0, "startTime": NOW, "error": None}

    @pytest.mark.parametrize(
        ("delivery", "state"),
        [
            pytest.param(MARK, "ERROR", id="the-dispatcher-s-mark"),
            pytest.param({**MARK, "republishTime": NOW}, "ERROR", id="the-reconciler-s-note"),
            pytest.param({"state": "RETRY"}, "RETRY", id="a-user-s-retry"),
            pytest.param({**MARK, "state": "RETRY"}, "RETRY", id="a-user-s-retry-right-after-the-mark"),
            pytest.param({**MARK, "endTime": NOW}, "PENDING", id="a-user-s-request-after-an-error"),
        ],
    )
    @pytest.mark.parametrize("microseconds", [1, 10**6, 10**9])
    def test_writes_after_a_refusal(
        self, client: FlaskClient, database: MemoryDatabase, delivery: Any, state: str, microseconds: int
    ) -> None:
        """Whatever time has passed: the document says whether another message is on its way."""
        written = decode_time(database.put("mail/a", MAIL | {"delivery": delivery}))
        refused = (written - timedelta(microseconds=microseconds)).isoformat()
        self.push(client, {"document": "mail/a"}, {"reason": "unwritable"}, refused)
        assert database.documents["mail/a"].fields["delivery"]["state"] == state

    def test_a_mark_after_pubsub_gave_up_has_another_message(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        """The event was delivered again, so the dispatcher has published again before it wrote the mark."""
        written = decode_time(database.put("mail/a", MAIL | {"delivery": self.MARK}))
        given_up = (written - timedelta(seconds=1)).isoformat()
        assert self.push(client, {"document": "mail/a"}, self.GIVEN_UP, given_up) == "requeued\n"

    def test_an_unwritable_document_is_acknowledged(
        self, client: FlaskClient, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: str, decide: object) -> None:
            raise Unwritable("too large")

        database.put("mail/a", MAIL)
        monkeypatch.setattr(database, "transact", refuse)
        assert self.push(client, {"document": "mail/a"}, {"reason": "unwritable"}) == "unwritable\n"

    @pytest.mark.parametrize(
        ("most_bytes", "delivery"),
        [
            pytest.param(160, {"state": "ERROR", "errorCode": "validation", "error": "No room." * 3}, id="brief"),
            pytest.param(110, {"state": "ERROR", "info": "x" * 40}, id="only-the-state"),
            pytest.param(60, {"state": "RETRY", "info": "x" * 40}, id="nothing"),
        ],
    )
    def test_of_an_error_as_much_is_written_as_fits(
        self, client: FlaskClient, database: MemoryDatabase, most_bytes: int, delivery: Any
    ) -> None:
        database.put("mail/a", MAIL | {"delivery": {"state": "RETRY", "info": "x" * 40}})
        database.most_bytes = most_bytes
        attributes = {"reason": "unwritable", "error": "No room." * 3}
        answer = self.push(client, {"document": "mail/a"}, attributes)
        assert database.documents["mail/a"].fields["delivery"] == delivery
        assert answer == ("unwritable\n" if delivery["state"] == "RETRY" else "dead-letter\n")

    @pytest.mark.parametrize(
        ("data", "path"),
        [
            pytest.param({"mail": {"x": {}}, "id": "a b/c"}, None, id="an-invalid-id"),
            pytest.param({"mail": {"delivery": {}}, "id": "a"}, "mail/a", id="its-id"),
            pytest.param({"mail": "text", "id": "a"}, "mail/a", id="a-mail-of-another-type"),
            pytest.param({"mail": {}, "id": 5}, None, id="an-id-that-is-no-text"),
            pytest.param({"mail": {"delivery": {}}}, "mail/55", id="the-message-s-id"),
            pytest.param({"id": "a"}, None, id="no-mail"),
            pytest.param(["mail"], None, id="no-map"),
        ],
    )
    def test_a_refused_inline_mail_is_an_error_where_its_publisher_looks(
        self, client: FlaskClient, database: MemoryDatabase, data: Any, path: str | None
    ) -> None:
        attributes = {"reason": "wrong-shape", "error": "'mail.delivery' is Firepost's.", "messageId": "55"}
        assert self.push(client, data, attributes) == "refused\n"
        assert list(database.documents) == ([path] if path else [])
        if path:
            [document] = database.documents.values()
            assert document.fields == {
                "delivery": {
                    "state": "ERROR",
                    "attempts": 0,
                    "startTime": NOW,
                    "endTime": NOW,
                    "error": "'mail.delivery' is Firepost's.",
                    "errorCode": "validation",
                    "leaseExpireTime": None,
                }
            }

    def test_a_refused_inline_mail_waits_for_firestore(self, client: FlaskClient, database: MemoryDatabase) -> None:
        """Until the dispatcher has recorded it, Pub/Sub delivers the dead letter again."""
        attributes = {"reason": "wrong-shape", "error": "No."}
        database.most_bytes = 0
        assert self.push(client, {"mail": [], "id": "a"}, attributes) == "unwritable\n"
        database.most_bytes = None
        database.lose_answers = 10**6
        assert self.push(client, {"mail": [], "id": "a"}, attributes) == "refused\n"
        assert database.documents["mail/a"].fields["delivery"]["state"] == "ERROR"

    def test_firestore_away_is_unavailable(
        self, client: FlaskClient, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MailStore, "mark", lambda store, writes: [Unavailable("away")])
        assert self.push(client, {"mail": [], "id": "a"}, {"reason": "wrong-shape"}) == "away\n"

    @pytest.mark.parametrize("reason", ["id-conflict", "unknown-version"])
    def test_a_refusal_that_is_not_the_mail_s_fault_creates_nothing(
        self, client: FlaskClient, database: MemoryDatabase, reason: str
    ) -> None:
        self.push(client, {"mail": {}, "id": "a"}, {"reason": reason})
        assert not database.documents

    def test_a_refused_inline_mail_never_overwrites_a_document(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        database.put("mail/a", MAIL)
        assert self.push(client, {"mail": {"delivery": {}}, "id": "a"}, {"reason": "wrong-shape"}) == "refused\n"
        assert database.documents["mail/a"].fields == MAIL

    def test_a_rejected_inline_message_touches_no_document(self, client: FlaskClient, database: MemoryDatabase) -> None:
        """With `id-conflict`, the document belongs to another mail."""
        database.put("mail/a", MAIL)
        assert self.push(client, {"mail": {}, "id": "a"}, {"reason": "id-conflict"}) == "refused\n"
        assert "delivery" not in database.documents["mail/a"].fields

    def test_a_message_without_a_document_in_the_collection_is_acknowledged(self, client: FlaskClient) -> None:
        assert self.push(client, {"document": "users/a"}, self.GIVEN_UP) == "refused\n"


class TestLifecycle:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            pytest.param(None, {}, ["onStart"], id="written"),
            pytest.param({}, {"state": "PENDING"}, ["onPending"], id="queued"),
            pytest.param({"state": "PENDING"}, {"state": "PROCESSING"}, ["onProcessing"], id="claimed"),
            pytest.param({}, {"state": "PROCESSING"}, ["onProcessing"], id="claimed-before-it-is-marked"),
            pytest.param(None, {"state": "PROCESSING"}, ["onStart", "onProcessing"], id="published-inline"),
            pytest.param({"state": "PROCESSING"}, {"state": "SUCCESS"}, ["onSuccess", "onComplete"], id="sent"),
            pytest.param({"state": "PROCESSING"}, {"state": "ERROR"}, ["onError", "onComplete"], id="failed"),
            pytest.param({"state": "ERROR"}, {"state": "RETRY"}, ["onRetry"], id="retried"),
            pytest.param({"state": "SUCCESS"}, {"state": "SUCCESS"}, [], id="edited"),
            pytest.param({"state": "SUCCESS"}, None, [], id="deleted"),
            pytest.param({"state": "PENDING"}, {"state": "CANCELLED"}, [], id="cancelled"),
            pytest.param(None, {"state": "CANCELLED"}, ["onStart"], id="written-as-cancelled"),
            pytest.param({"state": "CANCELLED"}, {"state": "RETRY"}, ["onRetry"], id="wanted-again"),
            pytest.param({"state": "CANCELLED"}, {"state": "SUCCESS"}, ["onSuccess", "onComplete"], id="sent-anyway"),
        ],
    )
    def test_row(
        self,
        client: FlaskClient,
        lifecycle_topic: MemoryPublisher,
        old: dict[str, str] | None,
        new: dict[str, str] | None,
        expected: list[str],
    ) -> None:
        before, after = ({**MAIL, **({"delivery": d} if d else {})} if d is not None else None for d in (old, new))
        client.post("/", data=body(before, after), headers=HEADERS)
        types = [attributes["ce-type"].rpartition(".")[2] for _, attributes in lifecycle_topic.published]
        assert types == expected

    def test_a_repeated_event_announces_the_same_ids(
        self, client: FlaskClient, lifecycle_topic: MemoryPublisher
    ) -> None:
        for _ in range(2):
            client.post("/", data=body(None, MAIL), headers=HEADERS)
        assert [attributes["ce-id"] for _, attributes in lifecycle_topic.published] == ["e1/onStart"] * 2
        assert all(b"a@b.c" not in data for data, _ in lifecycle_topic.published)

    def test_a_path_too_long_for_an_attribute_is_only_in_the_data(
        self, client: FlaskClient, lifecycle_topic: MemoryPublisher
    ) -> None:
        path = "mail/" + "a" * 1020
        client.post("/", data=body(None, {}, path=path), headers=HEADERS)
        [(data, attributes)] = lifecycle_topic.published
        assert "ce-subject" not in attributes
        assert json.loads(data)["document"] == path

"""The dispatcher over HTTP, with Firestore and Pub/Sub in memory."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dispatcher import events
from dispatcher.app import create_app
from dispatcher.events import EVENT_TYPE
from dispatcher.handler import Dispatcher
from dispatcher.ignored import PERIOD
from shared.firestore.database import Snapshot
from shared.pubsub.publisher import Message
from tests.assembly import DispatcherParts
from tests.fakes import MemoryDatabase, MemoryPublisher
from tests.unit.dispatcher.test_events import body

MAIL = {"to": "a@b.c"}


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


def test_a_document_that_has_changed_since_is_not_written(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    database.put("mail/a", MAIL)
    assert post(client, body(None, MAIL)).status_code == 200
    assert "delivery" not in database.documents["mail/a"].fields
    assert len(topic.published) == 1


def test_nothing_is_read(client: FlaskClient, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(paths: Sequence[str]) -> list[Snapshot | None]:
        pytest.fail(f"{paths} were read")

    just_written(database)
    monkeypatch.setattr(database, "read", read)
    assert post(client, body(None, MAIL)).status_code == 200


def test_while_the_topic_is_broken_eventarc_shall_repeat(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    just_written(database)
    topic.broken = True
    assert post(client, body(None, MAIL)).status_code == 503
    assert "delivery" not in database.documents["mail/a"].fields
    topic.broken = False
    assert post(client, body(None, MAIL)).status_code == 200


def test_a_malformed_event_is_the_callers_fault_and_one_log_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        response = post(client, b"hello!")
    assert response.status_code == 400
    assert response.text == "Body: expected a protobuf DocumentEventData.\n"
    assert len(caplog.records) == 1


def test_a_body_beyond_any_event_is_refused(client: FlaskClient) -> None:
    assert post(client, b"x" * 20_000_000).status_code == 413


def test_it_says_that_it_is_healthy(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == 200


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


class TestIgnoredEvents:
    """They are counted, and the log shows the counts."""

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
        entries = (vars(record)["fields"] for record in caplog.records)
        found = [(entry["reason"], entry["count"]) for entry in entries if entry["event"] == "ignored"]
        caplog.clear()
        return found

    def test_once_a_period(
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

    def test_and_at_the_end(self, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
        self.happen(dispatcher, None)
        dispatcher.close()
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

    def push(self, client: FlaskClient, data: Any, attributes: dict[str, str]) -> str:
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        pushed = {"message": {"data": encoded, "attributes": attributes, "messageId": "7"}}
        return client.post("/dead-letters", json=pushed).text

    def test_a_message_given_up_by_pubsub_is_an_error_on_its_document(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        database.put("mail/a", MAIL)
        assert self.push(client, {"document": "mail/a"}, self.GIVEN_UP) == "dead-letter\n"
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "dead-letter")
        assert delivery["error"] == "Pub/Sub gave the message up after 5 deliveries."

    def test_one_that_the_sender_refused_changes_no_document(
        self, client: FlaskClient, database: MemoryDatabase
    ) -> None:
        """With `id-conflict`, the document belongs to another mail."""
        database.put("mail/a", MAIL)
        assert self.push(client, {"document": "mail/a"}, {"reason": "id-conflict"}) == "refused\n"
        assert "delivery" not in database.documents["mail/a"].fields

    def test_one_without_a_document_of_the_collection_is_acknowledged(self, client: FlaskClient) -> None:
        assert self.push(client, {"document": "users/a"}, self.GIVEN_UP) == "refused\n"


class TestLifecycle:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            pytest.param(None, {}, ["onStart"], id="written"),
            pytest.param({}, {"state": "PENDING"}, ["onPending"], id="queued"),
            pytest.param({"state": "PENDING"}, {"state": "PROCESSING"}, ["onProcessing"], id="claimed"),
            pytest.param(None, {"state": "PROCESSING"}, ["onStart", "onProcessing"], id="published-inline"),
            pytest.param({"state": "PROCESSING"}, {"state": "SUCCESS"}, ["onSuccess", "onComplete"], id="sent"),
            pytest.param({"state": "PROCESSING"}, {"state": "ERROR"}, ["onError", "onComplete"], id="failed"),
            pytest.param({"state": "ERROR"}, {"state": "RETRY"}, ["onRetry"], id="retried"),
            pytest.param({"state": "SUCCESS"}, {"state": "SUCCESS"}, [], id="edited"),
            pytest.param({"state": "SUCCESS"}, None, [], id="deleted"),
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
        client.post("/", data=body(before, after), headers={"ce-type": EVENT_TYPE, "ce-id": "e1"})
        types = [attributes["ce-type"].rpartition(".")[2] for _, attributes in lifecycle_topic.published]
        assert types == expected

    def test_a_repeated_event_announces_the_same_ids(
        self, client: FlaskClient, lifecycle_topic: MemoryPublisher
    ) -> None:
        for _ in range(2):
            client.post("/", data=body(None, MAIL), headers={"ce-type": EVENT_TYPE, "ce-id": "e1"})
        assert [attributes["ce-id"] for _, attributes in lifecycle_topic.published] == ["e1/onStart"] * 2
        assert all(b"a@b.c" not in data for data, _ in lifecycle_topic.published)

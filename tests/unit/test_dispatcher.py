"""The dispatcher over HTTP, with Firestore and Pub/Sub in memory."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dispatcher.app import create_app
from dispatcher.events import EVENT_TYPE
from dispatcher.handler import Dispatcher
from shared.database import Snapshot
from shared.policy import Policy
from shared.store import MailStore
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher
from tests.unit.test_delivery import LEASE
from tests.unit.test_events import body

MAIL = {"to": "a@b.c"}


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def topic() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def client(database: MemoryDatabase, topic: MemoryPublisher) -> FlaskClient:
    policy = Policy(LEASE)
    store = MailStore(database, policy, sleep=lambda seconds: None)
    return create_app(Dispatcher(store, topic, policy, Clock()), "mail", verifier=None).test_client()


def post(client: FlaskClient, data: bytes, event_type: str = EVENT_TYPE) -> TestResponse:
    return client.post("/", data=data, headers={"ce-type": event_type, "Content-Type": "application/protobuf"})


def just_written(database: MemoryDatabase) -> None:
    """The document as the event of `body(None, MAIL)` says it is."""
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


def test_a_document_that_has_changed_since_is_left_alone(
    client: FlaskClient, database: MemoryDatabase, topic: MemoryPublisher
) -> None:
    database.put("mail/a", MAIL)
    assert post(client, body(None, MAIL)).status_code == 200
    assert "delivery" not in database.documents["mail/a"].fields
    assert len(topic.published) == 1


def test_nothing_is_read(client: FlaskClient, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str) -> Snapshot | None:
        pytest.fail(f"{path} was read")

    just_written(database)
    monkeypatch.setattr(database, "get", read)
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
    assert post(client, b"x" * 5_000_000).status_code == 413


def test_it_says_that_it_is_healthy(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == 200


def test_a_bug_is_a_500_so_that_the_event_comes_again(
    client: FlaskClient, topic: MemoryPublisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(data: bytes, attributes: dict[str, str]) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(topic, "publish", broken)
    response = post(client, body(None, MAIL))
    assert (response.status_code, response.text) == (500, "Internal error.\n")
    assert caplog.records[-1].message == "unforeseen error"

"""The dispatcher in shadow mode: it asks for looks, and does nothing else."""

from __future__ import annotations

import base64
import itertools
import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient

from dispatcher.app import create_app
from dispatcher.events import EVENT_TYPE
from dispatcher.shadow import on_event
from shared.delivery.model import Decision, DocumentState, Reason
from shared.observability.events import FIELDS, Event
from tests.assembly import DispatcherParts
from tests.fakes import MemoryDatabase, MemoryPublisher
from tests.unit.dispatcher.test_events import body

MAIL = {"to": "a@b.c"}
HEADERS = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf"}

GONE, NEW = None, DocumentState()


def state(word: str) -> DocumentState:
    return DocumentState.of({"delivery": {"state": word}})


@pytest.mark.parametrize(
    ("old", "new", "decision"),
    [
        pytest.param(NEW, GONE, Decision(Reason.DELETED), id="deleted"),
        pytest.param(GONE, NEW, Decision(Reason.NEW, publish=True), id="written"),
        pytest.param(NEW, NEW, Decision(Reason.STILL_QUEUED), id="edited-before-the-old-system-saw-it"),
        pytest.param(state("SUCCESS"), NEW, Decision(Reason.NEW, publish=True), id="written-over-an-ended-one"),
        pytest.param(NEW, state("PENDING"), Decision(Reason.STILL_QUEUED), id="queued-by-the-old-system"),
        pytest.param(GONE, state("PENDING"), Decision(Reason.NEW, publish=True), id="written-as-queued"),
        pytest.param(state("PENDING"), state("PROCESSING"), Decision(Reason.PROCESSING), id="processing"),
        pytest.param(GONE, state("PROCESSING"), Decision(Reason.PROCESSING), id="written-as-processing"),
        pytest.param(state("PROCESSING"), state("SUCCESS"), Decision(Reason.FINAL_STATE, publish=True), id="sent"),
        pytest.param(state("PROCESSING"), state("ERROR"), Decision(Reason.FINAL_STATE, publish=True), id="failed"),
        pytest.param(NEW, state("ERROR"), Decision(Reason.FINAL_STATE, publish=True), id="refused-at-once"),
        pytest.param(state("ERROR"), state("SUCCESS"), Decision(Reason.FINAL_STATE, publish=True), id="corrected"),
        pytest.param(state("SUCCESS"), state("SUCCESS"), Decision(Reason.FINAL_STATE), id="edited-after-the-end"),
        pytest.param(GONE, state("SUCCESS"), Decision(Reason.FINAL_STATE), id="restored-from-a-backup"),
        pytest.param(state("ERROR"), state("RETRY"), Decision(Reason.STILL_QUEUED), id="requested-again"),
        pytest.param(state("PENDING"), state("CANCELLED"), Decision(Reason.CANCELLED), id="cancelled"),
        pytest.param(
            state("CANCELLED"), state("SUCCESS"), Decision(Reason.FINAL_STATE, publish=True), id="sent-though-cancelled"
        ),
        pytest.param(NEW, state("ODD"), Decision(Reason.UNKNOWN_STATE), id="in-an-unknown-state"),
    ],
)
def test_a_look_is_taken_at_what_is_new_and_at_what_has_ended(
    old: DocumentState | None, new: DocumentState | None, decision: Decision
) -> None:
    assert on_event(old, new) == decision


class NoDatabase(MemoryDatabase):
    """A database that nobody may use."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the dispatcher used the database: {name}")


@pytest.fixture
def topic() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def client(topic: MemoryPublisher) -> FlaskClient:
    parts = DispatcherParts(database=NoDatabase(), topic=topic)
    return create_app(parts.shadow_handlers(), "mail", None, lambda: "ok, in shadow mode").test_client()


def test_the_message_is_one_that_only_shadow_mode_reads(client: FlaskClient, topic: MemoryPublisher) -> None:
    response = client.post("/", data=body(None, MAIL), headers=HEADERS)
    assert (response.status_code, response.text) == (200, "new\n")
    assert topic.published == [
        (b'{"document": "mail/a"}', {"document": "mail/a", "reason": "new", "version": "shadow"})
    ]


def test_a_life_with_trigger_email_costs_two_messages(client: FlaskClient, topic: MemoryPublisher) -> None:
    states = [MAIL | {"delivery": {"state": word}} for word in ("PENDING", "PROCESSING", "SUCCESS")]
    documents: list[dict[str, Any] | None] = [None, MAIL, *states]
    for old, new in itertools.pairwise(documents):
        client.post("/", data=body(old, new), headers=HEADERS)
    assert [attributes["reason"] for _, attributes in topic.published] == ["new", "final-state"]


def test_the_event_is_repeated_while_pubsub_does_not_answer(client: FlaskClient, topic: MemoryPublisher) -> None:
    topic.broken = True
    assert client.post("/", data=body(None, MAIL), headers=HEADERS).status_code == 503


def test_a_message_that_pubsub_refuses_is_only_logged(
    client: FlaskClient, topic: MemoryPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    topic.refusing = True
    assert client.post("/", data=body(None, MAIL), headers=HEADERS).status_code == 200
    assert caplog.messages[0] == "Pub/Sub refuses the message"


def test_a_run_of_the_reconciler_examines_nothing_and_is_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert client.post("/reconcile").get_json() == {"complete": True}
    assert vars(caplog.records[-1])["fields"]["event"] == Event.RECONCILER_RUN


def test_a_dead_letter_concludes_nothing(client: FlaskClient) -> None:
    pushed = {"data": base64.b64encode(json.dumps({"document": "mail/a"}).encode()).decode(), "messageId": "7"}
    attributes = {"CloudPubSubDeadLetterSourceDeliveryCount": "5"}
    response = client.post("/dead-letters", json={"message": pushed | {"attributes": attributes}})
    assert (response.status_code, response.text) == (200, "shadow\n")


def test_ignored_events_are_counted(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client.post("/", data=body(MAIL, None), headers=HEADERS)
    client.post("/reconcile")
    entries = [vars(record)["fields"] for record in caplog.records]
    assert {"event": Event.IGNORED, "reason": "deleted", "count": 1} in entries


def test_only_the_vocabulary_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client.post("/", data=body(None, MAIL), headers=HEADERS)
    for record in caplog.records:
        fields = vars(record)["fields"]
        assert set(fields) - {"event"} <= set(FIELDS[fields["event"]])


def test_health_says_so(client: FlaskClient) -> None:
    assert client.get("/health").text == "ok, in shadow mode\n"

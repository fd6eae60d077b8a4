"""Topics, subscriptions and dead letters."""

from __future__ import annotations

import json

import pytest
from google.cloud import firestore
from google.pubsub_v1.types import PubsubMessage

from local import queues
from local.backends.embedded import EmbeddedBackend
from local.clients import publisher_client, subscriber_client
from local.topics import subscription_path, topic_path
from tests.patience import patience
from tests.unit.local.conftest import PROJECT
from tests.unit.local.web.conftest import Browser


def publish(backend: EmbeddedBackend, topic: str, data: object, **attributes: str) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    with publisher_client(backend.pubsub) as publisher:
        message = PubsubMessage(data=raw, attributes=attributes)
        return str(publisher.publish(topic=topic_path(PROJECT, topic), messages=[message]).message_ids[0])


def mail_messages(backend: EmbeddedBackend) -> list[dict[str, object]]:
    """The messages that the sender would get now."""
    path = subscription_path(PROJECT, "mail-sender")
    if not backend.waiting()[path]:
        return []
    with subscriber_client(backend.pubsub) as subscriber:
        answer = subscriber.pull(subscription=path, max_messages=10)
        return [json.loads(received.message.data) for received in answer.received_messages]


@pytest.fixture
def dead(browser: Browser, backend: EmbeddedBackend) -> str:
    """The id of a dead letter."""
    body = {"document": "mail/a"}
    return publish(backend, "mail-dead-letter", body, reason="malformed", error="<b>It is malformed.</b>")


def test_topics_and_subscriptions_are_shown_with_what_waits(browser: Browser, backend: EmbeddedBackend) -> None:
    publish(backend, "mail", {"document": "mail/a"})
    shown = browser.json("/api/queues")
    assert shown["topics"] == ["mail", "mail-dead-letter"]
    waiting = {each["name"]: each["waiting"] for each in shown["subscriptions"]}
    assert waiting == {"mail-sender": 1, "mail-dead-letter-documents": 0, "mail-dead-letter-pull": 0}
    page = browser.get("/queues").text
    assert "mail-dead-letter-pull" in page
    assert "None. A message that can never work ends here" in page


def test_dead_letters_are_shown_with_their_reason_and_stay(browser: Browser, dead: str) -> None:
    for _ in range(3):
        (letter,) = browser.json("/api/dead-letters")
        assert (letter["id"], letter["reason"], letter["document"]) == (dead, "malformed", "mail/a")
    page = browser.get("/queues").text
    assert "&lt;b&gt;It is malformed." in page
    assert 'href="/console/documents/a"' in page


def test_a_dead_letter_is_replayed_once(browser: Browser, backend: EmbeddedBackend, dead: str) -> None:
    assert browser.send("POST", f"/api/dead-letters/{dead}/replay") == 204
    assert mail_messages(backend) == [{"document": "mail/a"}]
    assert browser.json("/api/dead-letters") == []
    assert browser.send("POST", f"/api/dead-letters/{dead}/replay") == 404


@pytest.mark.parametrize(
    ("code", "state"), [("dead-letter", "RETRY"), ("rejected", "ERROR")], ids=["concluded by it", "ended otherwise"]
)
def test_a_replay_revives_the_document_that_the_letter_concluded(
    browser: Browser, backend: EmbeddedBackend, db: firestore.Client, code: str, state: str
) -> None:
    db.document("mail/a").set({"delivery": {"state": "ERROR", "errorCode": code}})
    count = {"CloudPubSubDeadLetterSourceDeliveryCount": "100"}
    letter = publish(backend, "mail-dead-letter", {"document": "mail/a"}, **count)
    assert browser.send("POST", f"/api/dead-letters/{letter}/replay") == 204
    assert db.document("mail/a").get().get("delivery.state") == state


def test_a_dead_letter_is_deleted(browser: Browser, backend: EmbeddedBackend, dead: str) -> None:
    other = publish(backend, "mail-dead-letter", b"\xff not JSON", reason="malformed")
    assert browser.open("DELETE", f"/api/dead-letters/{dead}").status_code == 204
    assert browser.open("DELETE", f"/api/dead-letters/{dead}").status_code == 404
    (left,) = browser.json("/api/dead-letters")
    assert (left["id"], left["data"], left["document"]) == (other, "\ufffd not JSON", None)


def test_large_dead_letters_are_cut(
    browser: Browser, backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "HELD_SECONDS", patience(20))  # a busy machine takes its time for nine megabytes
    body = {"mail": {"to": "x", "message": {"text": "x" * 3_000_000}}, "id": "order-1"}
    for _ in range(3):
        publish(backend, "mail-dead-letter", body, reason="malformed")
    shown = browser.json("/api/dead-letters")
    assert [len(each["data"]) for each in shown] == [20_000] * 3
    assert shown[0]["document"] == "mail/order-1"

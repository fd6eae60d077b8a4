"""In shadow mode nothing is written and nothing is sent, whatever a document or a message holds.

Both services are assembled as in production. They work with a Firestore whose every call is counted, and with a mail
server that notices every connection.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.pubsub_v1.services.publisher import PublisherClient

from bench.proxy import READS, Counts, Proxy
from dispatcher import bootstrap as dispatcher
from dispatcher.events import EVENT_TYPE
from dispatcher.settings import DispatcherSettings
from local.backends.embedded import EmbeddedBackend
from sender import bootstrap as sender
from sender.settings import PullSettings, SenderSettings
from sender.worker.shadow import ShadowSender
from shared.observability.tracing import NO_TRACER
from shared.settings import SHADOW_NOTICE, load
from tests.fuzz import mails
from tests.smtp_server import ScriptedServer
from tests.unit.dispatcher.test_events import body
from tests.unit.embedded.conftest import PROJECT

DOCUMENTS = 150
READING = {"BatchGetDocuments", "RunQuery", READS}
MAIL: dict[str, Any] = {"to": "ada@example.com", "message": {"subject": "s", "text": "t"}}
#: What the other system, or anyone else, may have written.
DELIVERIES: tuple[object, ...] = (
    None,
    {"state": "PENDING"},
    {"state": "RETRY", "nextAttemptTime": "soon"},
    {"state": "PROCESSING", "leaseExpireTime": None},
    {"state": "SUCCESS", "info": {"accepted": ["ada@example.com"]}},
    {"state": "SUCCESS", "info": {"accepted": [None, {"x": "y"}], "rejected": "all"}},
    {"state": "ERROR", "error": "Error: Message failed: 550 No"},
    {"state": "ODD", "attempts": -1},
    "SUCCESS",
    [],
)


@dataclass
class Services:
    """Both services in shadow mode; `counts` are their calls to Firestore."""

    dispatcher: FlaskClient
    sender: FlaskClient
    counts: Counts
    smtp: ScriptedServer

    def push(self, data: Any, to: str = "/", **attributes: str) -> int:
        encoded = base64.b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode()
        client = self.sender if to == "/" else self.dispatcher
        message = {"data": encoded, "attributes": attributes, "messageId": "77"}
        return client.post(to, json={"message": message}).status_code

    def event(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> int:
        headers = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf"}
        return self.dispatcher.post("/", data=body(old, new), headers=headers).status_code


@pytest.fixture
def services(
    backend: EmbeddedBackend, publisher: PublisherClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    publisher.create_topic(name=f"projects/{PROJECT}/topics/mail")
    counts = Counts()
    proxy = Proxy(backend.firestore, counts)
    proxy.start()
    with ScriptedServer() as smtp:
        settings = {
            "SHADOW": "true",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIRESTORE_EMULATOR_HOST": proxy.address,
            "PUBSUB_EMULATOR_HOST": backend.pubsub,
            "SMTP_CONNECTION_URI": smtp.uri(),
            "DEFAULT_FROM": "shop@example.com",
            "USERS_COLLECTION": "users",
            "TEMPLATES_COLLECTION": "templates",
            "EVENTS_TOPIC": "events",
            "ATTACHMENT_HOSTS": "none",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        ours = dispatcher.build(load(DispatcherSettings))
        theirs = sender.build(load(SenderSettings))
        yield Services(ours.app.test_client(), theirs.app.test_client(), counts, smtp)
        for close in (theirs.drain, ours.close, theirs.close):
            if close is not None:
                close()
    proxy.stop()


def a_document(random: Random) -> dict[str, Any]:
    delivery = random.choice(DELIVERIES)
    fields = mails.DOCUMENTS(random) if random.random() < 0.8 else MAIL
    return fields | ({} if delivery is None else {"delivery": delivery})


def test_nothing_is_written_and_nobody_is_called_whatever_a_document_holds(
    services: Services, db: firestore.Client
) -> None:
    db.document("users/u").set({"email": "u@example.com"})
    db.document("templates/welcome").set({"subject": "Hi {{name}}", "html": "{{#each items}}{{this}}{{/each}}"})
    random = Random("shadow")
    written: dict[str, Any] = {}
    outcomes: set[int] = set()
    while len(written) < DOCUMENTS:
        path = f"mail/{len(written)}"
        try:
            written[path] = db.document(path).set(a_document(random)).update_time
        except (TypeError, ValueError, InvalidArgument):  # Firestore does not take it
            continue
        outcomes.add(services.push({"document": path}, version="shadow"))
    assert outcomes == {200}
    services.push({"mail": MAIL, "id": "inline"})
    services.push({"document": "mail/none"})
    services.push({"document": "users/x"})
    services.push(b"\xff")
    assert {each.reference.path: each.update_time for each in db.collection("mail").stream()} == written
    assert set(services.counts.taken()) <= READING
    assert services.smtp.sessions == []


def test_a_look_costs_one_read(services: Services, db: firestore.Client) -> None:
    db.document("mail/a").set(MAIL)
    services.counts.taken()
    services.push({"document": "mail/a"}, version="shadow")
    assert services.counts.taken() == {"BatchGetDocuments": 1, READS: 1}


def test_the_dispatcher_does_not_call_firestore_at_all(services: Services) -> None:
    deliveries = [MAIL | ({} if each is None else {"delivery": each}) for each in DELIVERIES]
    for old in (None, *deliveries):
        for new in (None, *deliveries):
            if old is not None or new is not None:
                assert services.event(old, new) == 200
    assert services.dispatcher.post("/reconcile").status_code == 200
    services.push({"document": "mail/a"}, "/dead-letters", CloudPubSubDeadLetterSourceDeliveryCount="5")
    services.push({"mail": MAIL}, "/dead-letters", reason="wrong-shape")
    assert services.counts.taken() == {}


def test_both_services_say_so(services: Services) -> None:
    assert services.dispatcher.get("/health").text == services.sender.get("/health").text
    assert "shadow mode" in services.sender.get("/health").text


def test_the_start_is_a_warning(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    sender.build_sender(load(SenderSettings), NO_TRACER)
    dispatcher.build(load(DispatcherSettings))
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING].count(SHADOW_NOTICE) == 2


def test_a_puller_looks_on_too(services: Services) -> None:
    puller, *_ = sender.build_puller(load(PullSettings), NO_TRACER)
    assert isinstance(puller._sender, ShadowSender)

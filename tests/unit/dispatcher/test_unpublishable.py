"""A message that Pub/Sub refuses for good, with production's clients over real gRPC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import grpc
import pytest

from dispatcher.events import DocumentChange
from dispatcher.handler import Dispatcher
from dispatcher.outbox import Outbox
from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from shared.batcher import Batching
from shared.delivery.model import DocumentState
from shared.errors import Unavailable
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase, Version, Write
from shared.pubsub.publisher import TopicPublisher, connect_publisher
from tests.assembly import NOT_PAUSED, POLICY, store

PROJECT = "demo-unpublishable"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "nothing", "http://127.0.0.1:1/"))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def database(backend: EmbeddedBackend) -> Iterator[FirestoreDatabase]:
    with closing(connect_firestore(backend.firestore)) as connection:
        yield FirestoreDatabase(connection, PROJECT, "(default)")


@pytest.fixture
def dispatcher(
    backend: EmbeddedBackend, database: FirestoreDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dispatcher]:
    monkeypatch.setitem(os.environ, "PUBSUB_EMULATOR_HOST", backend.pubsub)
    client = connect_publisher()
    outbox = Outbox(TopicPublisher(client, PROJECT, "mail"), store(database), Batching())
    yield Dispatcher(outbox, POLICY, lambda: NOW, lambda: NOT_PAUSED)
    client.transport.close()


@pytest.fixture
def change(database: FirestoreDatabase) -> DocumentChange:
    [version] = database.write([Write("mail/a", {"to": "a@b.c"}, version=None)])
    assert isinstance(version, Version)
    return DocumentChange("mail/a", None, DocumentState(), version)


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE])
def test_the_document_is_an_error_for_people(
    backend: EmbeddedBackend,
    database: FirestoreDatabase,
    dispatcher: Dispatcher,
    change: DocumentChange,
    code: grpc.StatusCode,
) -> None:
    backend.faults.on("Publish").fail(code)
    dispatcher.handle(change)
    document = database.get("mail/a")
    assert document is not None
    assert document.fields["delivery"] == {
        "state": "ERROR",
        "attempts": 0,
        "startTime": NOW,
        "endTime": NOW,
        "error": "Pub/Sub refuses the message about this document, perhaps because of its id. The mail was not sent.",
        "errorCode": "dead-letter",
        "leaseExpireTime": None,
    }


def test_what_an_operator_can_mend_is_repeated(
    backend: EmbeddedBackend, database: FirestoreDatabase, dispatcher: Dispatcher, change: DocumentChange
) -> None:
    backend.faults.on("Publish").fail(grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(Unavailable):
        dispatcher.handle(change)
    document = database.get("mail/a")
    assert document is not None
    assert "delivery" not in document.fields

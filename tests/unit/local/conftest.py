"""An embedded backend with its clients, as the local stack has it, but without services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import firestore

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client
from local.documents import Documents

PROJECT = "demo-console"


class Told:
    """Passes on which documents have changed, as the stack does, and remembers them."""

    def __init__(self) -> None:
        self.documents: Documents | None = None
        self.paths: set[str] = set()

    def changed(self, path: str) -> None:
        self.paths.add(path)
        if self.documents is not None:
            self.documents.changed(path)


@pytest.fixture(scope="session")
def told_by_all() -> Told:
    return Told()


@pytest.fixture(scope="session")
def shared_backend(told_by_all: Told) -> Iterator[EmbeddedBackend]:
    """One for all tests, because a start takes 40 ms. No document is in the collection that causes events."""
    backend = EmbeddedBackend(
        BackendOptions(PROJECT, "without-events", "http://127.0.0.1:9/", on_change=told_by_all.changed)
    )
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture(scope="session")
def shared_db(shared_backend: EmbeddedBackend) -> Iterator[firestore.Client]:
    client = firestore_client(shared_backend.firestore, PROJECT)
    yield client
    client.close()


@pytest.fixture
def backend(
    shared_backend: EmbeddedBackend, shared_db: firestore.Client, told_by_all: Told
) -> Iterator[EmbeddedBackend]:
    """A backend without documents and faults. `tests/unit/local/web` has its topics, which others do not touch."""
    yield shared_backend
    shared_backend.faults.clear()
    shared_backend.faults.counts.clear()
    told_by_all.documents = None
    if told_by_all.paths:
        batch = shared_db.batch()
        for path in told_by_all.paths:
            batch.delete(shared_db.document(path))
        batch.commit()
        told_by_all.paths.clear()


@pytest.fixture
def db(backend: EmbeddedBackend, shared_db: firestore.Client) -> firestore.Client:
    return shared_db


@pytest.fixture
def told(backend: EmbeddedBackend, told_by_all: Told) -> Told:
    return told_by_all


@pytest.fixture
def documents(db: firestore.Client, told: Told) -> Documents:
    told.documents = Documents(db, "mail")
    return told.documents

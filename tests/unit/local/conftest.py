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
    """Passes on which documents have changed, as the stack does."""

    def __init__(self) -> None:
        self.documents: Documents | None = None

    def changed(self, path: str) -> None:
        if self.documents is not None:
            self.documents.changed(path)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def backend(told: Told) -> Iterator[EmbeddedBackend]:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "mail", "http://127.0.0.1:9/", on_change=told.changed))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def db(backend: EmbeddedBackend) -> Iterator[firestore.Client]:
    client = firestore_client(backend.firestore, PROJECT)
    yield client
    client.close()


@pytest.fixture
def documents(db: firestore.Client, told: Told) -> Documents:
    told.documents = Documents(db, "mail")
    return told.documents

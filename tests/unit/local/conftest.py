"""An embedded backend with its clients, as the local stack has it, but without services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import firestore

from local.backends.embedded import EmbeddedBackend
from local.documents import Documents
from tests.unit.lasting import LastingBackend

PROJECT = "demo-console"


class Told:
    """Passes on which documents have changed, as the stack does."""

    def __init__(self) -> None:
        self.documents: Documents | None = None

    def changed(self, path: str) -> None:
        if self.documents is not None:
            self.documents.changed(path)


@pytest.fixture(scope="session")
def told_by_all() -> Told:
    return Told()


@pytest.fixture(scope="session")
def lasting(told_by_all: Told) -> Iterator[LastingBackend]:
    lasting = LastingBackend(PROJECT, told_by_all.changed)
    yield lasting
    lasting.stop()


@pytest.fixture
def backend(lasting: LastingBackend, told_by_all: Told) -> Iterator[EmbeddedBackend]:
    """A backend without documents and faults. It may have topics, of `tests/unit/local/web`."""
    yield lasting.backend
    told_by_all.documents = None
    lasting.empty()


@pytest.fixture
def db(backend: EmbeddedBackend, lasting: LastingBackend) -> firestore.Client:
    return lasting.client


@pytest.fixture
def told(backend: EmbeddedBackend, told_by_all: Told) -> Told:
    return told_by_all


@pytest.fixture
def documents(db: firestore.Client, told: Told) -> Documents:
    told.documents = Documents(db, "mail")
    return told.documents

"""An embedded Firestore for commands that read and write documents, with no dispatcher behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.cloud.firestore import Client

from cli.__main__ import cli
from cli.target import EMULATORS
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase, Write
from tests.unit.lasting import LastingBackend

PROJECT = "demo-cli"


@dataclass(frozen=True)
class Store:
    """The database as an application uses it, and the command line for it."""

    client: Client
    address: str

    def write(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Create documents, many in one request."""
        connection = connect_firestore(self.address)
        database = FirestoreDatabase(connection, PROJECT, "(default)")
        writes = [Write(path, fields, None) for path, fields in documents.items()]
        for start in range(0, len(writes), 500):
            outcomes = database.write(writes[start : start + 500])
            assert not [each for each in outcomes if isinstance(each, Exception)]
        connection.close()

    def states(self, collection: str = "mail") -> dict[str, str | None]:
        return {each.id: (each.to_dict() or {}).get("delivery", {}).get("state") for each in self.stream(collection)}

    def stream(self, collection: str) -> Any:
        return self.client.collection(collection).stream()

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--project", PROJECT, *arguments], input=stdin)


@pytest.fixture(scope="session")
def lasting() -> Iterator[LastingBackend]:
    lasting = LastingBackend(PROJECT)
    yield lasting
    lasting.stop()


@pytest.fixture
def store(lasting: LastingBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store."""
    backend = lasting.backend
    for name, address in zip(EMULATORS, (backend.firestore, backend.pubsub), strict=True):
        monkeypatch.setenv(name, address)
    yield Store(lasting.client, backend.firestore)
    lasting.empty()

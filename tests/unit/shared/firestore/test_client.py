"""The headers of requests to Firestore: the caller, and the database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any

import google.auth
import grpc
import pytest
import trustme
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import RollbackRequest
from google.oauth2.credentials import Credentials

from shared.errors import Unavailable
from shared.firestore.client import Connection, connect_firestore
from shared.firestore.database import FirestoreDatabase, Write

DATABASE = "projects/p/databases/customers"


class Listening(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Answers every request with nothing, and records its method and headers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str | bytes]]] = []

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        self.calls.append((call.method, {key: value for key, value in call.invocation_metadata or ()}))
        if call.method.endswith(("Documents", "Query")):
            return grpc.unary_stream_rpc_method_handler(lambda request, context: iter(()))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
def server(listening: Listening) -> Iterator[grpc.Server]:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads, handlers=[listening])
        yield server
        server.stop(None).wait()


def ask_everything(connection: Connection) -> None:
    """The server's empty answers are errors; only the requests matter."""
    database = FirestoreDatabase(connection, "p", "customers")
    database.read(["mail/a"])
    database.write([Write(f"mail/{name}", {}, None) for name in "ab"])
    with suppress(IndexError):
        database.write([Write("mail/a", {}, None)])
    api = connection.transport
    connection.call(api.rollback, RollbackRequest.pb()(database=DATABASE), DATABASE)
    database.find("a/b/c", "n", 1, limit=1)


def test_an_emulator_gets_the_route_and_the_administrators_credentials(
    listening: Listening, server: grpc.Server
) -> None:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(connect_firestore(f"127.0.0.1:{port}")) as connection:
        ask_everything(connection)
    assert [
        (method.removeprefix("/google.firestore.v1.Firestore/"), headers["x-goog-request-params"])
        for method, headers in listening.calls
    ] == [
        ("BatchGetDocuments", "database=projects/p/databases/customers"),
        ("BatchWrite", "database=projects/p/databases/customers"),
        ("Commit", "database=projects/p/databases/customers"),
        ("Rollback", "database=projects/p/databases/customers"),
        ("RunQuery", "parent=projects/p/databases/customers/documents/a/b"),
    ]
    for _, headers in listening.calls:
        assert headers["authorization"] == "Bearer owner"
        assert headers["google-cloud-resource-prefix"] == DATABASE


def test_google_is_called_over_tls_with_the_services_own_credentials(
    listening: Listening, server: grpc.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, create_channel = trustme.CA(), FirestoreGrpcTransport.create_channel
    certificate = authority.issue_cert("localhost")
    port = server.add_secure_port(
        "localhost:0",
        grpc.ssl_server_credentials(
            [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())],
        ),
    )
    server.start()

    def to_our_server(host: str, **settings: Any) -> grpc.Channel:
        assert host.startswith("firestore.googleapis.com")
        ssl = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        channel: grpc.Channel = create_channel(f"localhost:{port}", **{**settings, "ssl_credentials": ssl})
        return channel

    ours = Credentials(token="token-of-the-service", expiry=datetime.max - timedelta(days=1))
    monkeypatch.setattr(google.auth, "default", lambda *_, **__: (ours, "p"))
    monkeypatch.setattr(FirestoreGrpcTransport, "create_channel", to_our_server)
    with closing(connect_firestore(None)) as connection:
        ask_everything(connection)
    assert len(listening.calls) == 5
    assert {headers["authorization"] for _, headers in listening.calls} == {"Bearer token-of-the-service"}


def test_an_empty_answer_is_an_error(listening: Listening, server: grpc.Server) -> None:
    """Especially not for a missing document: its message would be acknowledged."""
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(connect_firestore(f"127.0.0.1:{port}")) as connection:
        database = FirestoreDatabase(connection, "p", "customers")
        with pytest.raises(Unavailable, match="answered 0 of 1 documents"):
            database.get("mail/a")
        outcomes = database.write([Write(f"mail/{name}", {}, None) for name in "ab"])
        assert [str(outcome) for outcome in outcomes] == ["Firestore answered 0 of 2 writes."] * 2

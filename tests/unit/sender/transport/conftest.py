from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.https_server import HttpsServer
from tests.smtp_server import EXTENSIONS, ScriptedServer, without
from tests.unit.sender.transport.builders import AUTHORITY

#: A server's extensions, for tests that run with and without pipelining.
EITHER_WAY = (
    pytest.param(EXTENSIONS, id="pipelining"),
    pytest.param(without("PIPELINING"), id="step by step"),
)


@pytest.fixture(scope="session")
def server_tls() -> ssl.SSLContext:
    """The scripted server's certificate, for `localhost` only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def smtp() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def extra_replies_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that say what they say in addition in the same write: wait for it for a shorter time."""
    monkeypatch.setattr("sender.transport.smtp.transaction.EXTRA_REPLY_SECONDS", 0.02)


StartServer = Callable[..., ScriptedServer]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers with any arguments of `ScriptedServer`, and stops them after the test."""
    servers: list[ScriptedServer] = []

    def start(**arguments: object) -> ScriptedServer:
        server = ScriptedServer(**arguments)  # type: ignore[arg-type]
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def https(server_tls: ssl.SSLContext) -> Iterator[HttpsServer]:
    with HttpsServer(server_tls) as server:
        yield server

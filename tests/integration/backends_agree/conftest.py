"""Both backends, running side by side for all tests of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from google.events.cloud.firestore import DocumentEventData

from local.backends import Backend, BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.backends.google import GoogleBackend, find_launchers
from local.errors import CannotStart
from tests.integration.backends import GOOGLE_IS_REQUIRED
from tests.integration.backends_agree.sides import PROJECT, Side


@contextmanager
def _events_received(into: list[DocumentEventData]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            into.append(DocumentEventData.deserialize(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _running(kind: Callable[[BackendOptions], Backend]) -> Iterator[Side]:
    events: list[DocumentEventData] = []
    with _events_received(events) as url:
        backend = kind(BackendOptions(PROJECT, "mail", url))
        try:
            backend.start()
            side = Side(backend, events)
            try:
                yield side
            finally:
                side.close()
        finally:
            backend.stop()


@pytest.fixture(scope="package")
def sides() -> Iterator[tuple[Side, Side]]:
    try:
        find_launchers()
    except CannotStart as reason:
        if GOOGLE_IS_REQUIRED:
            raise
        pytest.skip(str(reason))
    with _running(EmbeddedBackend) as ours, _running(GoogleBackend) as theirs:
        yield ours, theirs

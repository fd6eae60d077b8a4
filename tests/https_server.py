"""A real HTTPS server on a thread, whose answers a test scripts.

with HttpsServer(tls) as server:
    server.answer(429, {"X-RateLimit-Reset": "1700000060"})     # the next request
    server.misbehave("silence")                                 # the one after that
    server.usually(202)                                         # all others
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from tests.patience import patience

#: Longer than anything a test waits for on purpose.
PATIENCE = patience(10)


@dataclass(frozen=True)
class Request:
    """A request that arrived in full; the names in `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: value for name, [value] in parse_qs(self.body.decode(), strict_parsing=True).items()}


class HttpsServer:
    """Listens on localhost, on a free port, while it is open; without `tls`, for plain HTTP."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._scheme = "http" if tls is None else "https"
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._arrived = threading.Condition()
        self._script: list[Callable[[_Handler], None]] = []
        self._usual: Callable[[_Handler], None] = lambda handler: handler.respond(202, {}, b"")
        self._server = _Server(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="https", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_port}"

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: object = b"") -> None:
        """Script the answer to the next request (after those scripted before); a `body` that is not bytes is JSON."""
        self._script.append(_responder(status, headers, body))

    def usually(self, status: int, headers: Mapping[str, str] | None = None, body: object = b"") -> None:
        self._usual = _responder(status, headers, body)

    def misbehave(self, manner: str) -> None:
        """Script a faulty answer to the next request: drop, silence, drip, nonsense, half (of the body) or early."""
        self._script.append(getattr(_Handler, manner))

    def say(self, head: bytes, repeated: bytes = b"") -> None:
        """Script raw bytes as the next answer, then `repeated` until the client hangs up."""
        self._script.append(lambda handler: handler.say(head, repeated))

    def forget(self) -> None:
        """Drop the answers that no request has got."""
        self._script.clear()

    def wait_for_requests(self, count: int) -> None:
        """Wait until `count` requests have arrived. Raises `TimeoutError`."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, PATIENCE):
                raise TimeoutError(f"only {len(self.requests)} requests came")

    # For the handlers

    def record(self, request: Request) -> None:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def next(self) -> Callable[[_Handler], None]:
        return self._script.pop(0) if self._script else self._usual


def _responder(status: int, headers: Mapping[str, str] | None, body: object) -> Callable[[_Handler], None]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.respond(status, headers or {}, data)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    block_on_close = True

    def __init__(self, owner: HttpsServer, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        self._tls = tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self._tls is None:
            return sock, address
        return self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: tests disconnect on purpose, and check the client's side."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        act = self.server.owner.next()
        if act is not _Handler.early:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.owner.record(Request(self.command, self.path, headers, body))
        act(self)

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without an answer."""

    def silence(self) -> None:
        self.server.owner.closing.wait(PATIENCE)

    def drip(self) -> None:
        for byte in b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"x" * 10_000:
            self.wfile.write(bytes([byte]))
            if self.server.owner.closing.wait(0.02):
                return

    def nonsense(self) -> None:
        self.wfile.write(b"220 mx.test ESMTP\r\n")

    def half(self) -> None:
        self.wfile.write(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: q1\r\nContent-Length: 100\r\n\r\nhalf")

    def say(self, head: bytes, repeated: bytes) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(head)
            while repeated and not self.server.owner.closing.is_set():
                self.wfile.write(repeated)

    def early(self) -> None:
        """Answer before reading the body, and close the connection."""
        self.respond(413, {}, b'{"errors": [{"message": "The payload is too large"}]}')

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port on which the system accepts connections, but nothing is ever sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]

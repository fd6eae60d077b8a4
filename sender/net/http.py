"""HTTPS requests, each over its own connection, with httpcore on top of a bounded socket: docs/decisions/0017.

The socket limits the time of the whole exchange, however slowly a server sends, and the bytes around the content. It
also knows whether the whole request was sent. Connections are not reused: if a server closes one that is idle, it is
unknown whether it received the next request, and no mail may be sent twice.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import httpcore

from sender.net.dial import dial, seconds_left
from sender.net.host_patterns import can_be_host
from sender.net.receive import receive
from shared.deadline import Deadline
from shared.errors import Misconfigured

#: The longest body of an `Answer`; a longer one is dropped.
MAX_BODY_BYTES = 256 * 1024

#: The bytes of an exchange that are not content (status line, headers, chunk sizes, trailers) may exceed the length of
#: the content by this much. httpcore refuses headers of 100 KiB and reads up to 64 KiB ahead.
MAX_FRAMING_BYTES = 160 * 1024

#: Time limit for the connection to one address, in seconds.
CONNECT_SECONDS = 10.0

#: Opens a connection before the deadline, or raises `OSError`.
Connect = Callable[[Deadline], socket.socket]


class RequestNotSent(OSError):
    """The server did not get the whole request; `__cause__` is the reason."""


class NotConnected(RequestNotSent):
    """No connection was established, which says nothing about the request."""


class NoResponse(OSError):
    """The server may have the request, but no complete response arrived; `__cause__` is the reason."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTPS request; `path` is percent-encoded and includes the query."""

    method: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    def to_httpcore(self) -> httpcore.Request:
        """The request with default headers added; those of `headers` take precedence."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        defaults = {"Host": name if self.port == 443 else f"{name}:{self.port}", "Connection": "close"}
        if self.body is not None:
            defaults["Content-Length"] = str(len(self.body))
        given = {each.lower() for each in self.headers}
        headers = {each: value for each, value in defaults.items() if each.lower() not in given} | dict(self.headers)
        return httpcore.Request(
            self.method,
            httpcore.URL(scheme=b"https", host=self.host.encode(), port=self.port, target=self.path.encode()),
            headers=[(each.encode("latin-1"), value.strip().encode("latin-1")) for each, value in headers.items()],
            content=self.body,
        )


class Response:
    """A status, headers, and a body that is read piece by piece."""

    def __init__(self, status: int, headers: Message, body: Iterator[bytes]) -> None:
        """Header names are case-insensitive."""
        self.status = status
        self.headers = headers
        self._body = body

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces, as they arrive. Raises `NoResponse` if it is incomplete."""
        try:
            yield from self._body
        except (OSError, httpcore.ProtocolError) as error:
            raise NoResponse from error


@contextmanager
def exchange(
    request: Request, connect: Connect, tls: ssl.SSLContext, *, start_by: Deadline, end_by: Deadline
) -> Iterator[Response]:
    """Send the request and yield the response as soon as its headers have arrived.

    The connection must be ready by `start_by`, and the exchange ends by `end_by`. Raises `RequestNotSent` and
    `NoResponse`.
    """
    bounded = _BoundedConnection(connect, start_by, end_by)
    origin = httpcore.Origin(b"https", request.host.encode(), request.port)
    connection = httpcore.HTTPConnection(origin, ssl_context=tls, network_backend=bounded)
    try:
        try:
            answer = connection.handle_request(request.to_httpcore())
        except (OSError, httpcore.ProtocolError) as error:
            raise bounded.kind_of_failure() from error
        yield Response(answer.status, _message(answer.headers), bounded.counted(answer.iter_stream()))
    finally:
        bounded.close()


def _message(headers: Iterable[tuple[bytes, bytes]]) -> Message:
    message = Message()
    for name, value in headers:
        message[name.decode("latin-1")] = value.decode("latin-1")
    return message


class TooMuchFraming(OSError):
    """A response has more bytes around its content than any legitimate server sends."""


class _BoundedConnection(httpcore.NetworkBackend, httpcore.NetworkStream):
    """The connection of one exchange, as httpcore's network backend and stream."""

    def __init__(self, connect: Connect, start_by: Deadline, end_by: Deadline) -> None:
        self._dial = connect
        self._start_by = start_by
        self._end_by = end_by
        self._sock: socket.socket | None = None
        self._bytes_left = MAX_FRAMING_BYTES
        self._is_cut_off = False
        self._is_reading = False
        self._is_ready = False

    def kind_of_failure(self) -> type[RequestNotSent | NoResponse]:
        """What an exchange without a response is: it depends on whether the whole request was written.

        httpcore starts reading after it has written all, or when the server has closed its side.
        """
        if self._is_reading and not self._is_cut_off:
            return NoResponse
        return RequestNotSent if self._is_ready else NotConnected

    def counted(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces of the body; each extends the limit on received bytes."""
        for piece in body:
            self._bytes_left += 2 * len(piece)
            yield piece

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Connect by `connect`, which checks addresses; httpcore's arguments are ignored."""
        self._sock = self._dial(self._start_by)
        return self

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS. The socket's timeout bounds the handshake as a whole."""
        sock = self._bounded(self._start_by)
        self._sock = ssl_context.wrap_socket(sock, server_hostname=server_hostname, suppress_ragged_eofs=False)
        self._is_ready = True
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read up to `max_bytes`; empty at the end of the stream."""
        self._is_reading = True
        data = receive(self._open(), max_bytes, self._end_by)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise TooMuchFraming
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it.

        A server that refuses a request may answer and close before it has read everything. `WriteError` makes httpcore
        read that answer.
        """
        rest = memoryview(buffer)
        try:
            while rest:
                rest = rest[self._bounded(self._end_by).send(rest) :]
        except (BrokenPipeError, ConnectionResetError) as error:
            self._is_cut_off = True
            raise httpcore.WriteError from error

    def close(self) -> None:
        """Close the connection, if any. May be called more than once."""
        if self._sock is not None:
            self._sock.close()

    def _bounded(self, until: Deadline) -> socket.socket:
        sock = self._open()
        sock.settimeout(seconds_left(until))
        return sock

    def _open(self) -> socket.socket:
        if self._sock is None:
            raise ConnectionError("there is no connection")
        return self._sock


def why(error: OSError) -> str:
    """The reason for a `RequestNotSent` or `NoResponse`, worded as the end of a sentence."""
    match error.__cause__:
        case TimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError() as cause:
            return f"its certificate can't be trusted: {cause.verify_message.rstrip('.')}"
        case httpcore.ProtocolError() | TooMuchFraming():
            return "its answer is not HTTP, or is incomplete"
        case OSError() as cause:
            return str(cause.strerror or cause).rstrip(".")
    return "the connection was lost"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response; header names are in lower case. `body` is empty if it was too long or incomplete."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def object(self) -> Mapping[str, object]:
        """The body as a JSON object; empty if it is none."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True, slots=True)
class HttpsEndpoint:
    """An HTTPS server and base path, as configured by a setting."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext = field(repr=False, compare=False)

    @classmethod
    def parse(cls, setting: str, url: str, tls: ssl.SSLContext) -> HttpsEndpoint:
        """From an `https://` URL.

        Raises `Misconfigured`, which names the setting and what is wrong. It quotes nothing: in a wrong URL, any part
        may be a secret.
        """
        if found := _fault(url):
            expected = "an https:// URL without user, query and fragment"
            raise Misconfigured(f"{setting}: expected {expected}, found {found}.")
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or 443, parts.path.rstrip("/"), tls)

    def __str__(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        start_by: Deadline,
        end_by: Deadline,
    ) -> Answer:
        """Make one request to `path` below the base path; see `exchange` for deadlines and errors."""
        request = Request(method, self.host, self.port, self.path + path or "/", headers, body)
        with exchange(request, self._connect, self.tls, start_by=start_by, end_by=end_by) as response:
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lower, _short_body(response))

    def _connect(self, until: Deadline) -> socket.socket:
        return dial(self.host, self.port, until, CONNECT_SECONDS)


def _fault(url: str) -> str:
    """What keeps a URL from being one of an endpoint; empty if it is one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "an invalid host or port"
    if parts.scheme != "https":
        return "another beginning"
    if "@" in parts.netloc:
        return "a user"
    if "?" in url or "#" in url:
        return "a query or fragment"
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", host) or not can_be_host(host):
        return "no host name in ASCII"
    return "" if re.fullmatch(r"[!-~]*", parts.path) else "a path with other characters than printable ASCII"


def _short_body(response: Response) -> bytes:
    body = bytearray()
    try:
        for piece in response.pieces():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return b""
    except NoResponse:
        return b""  # the status alone tells the result
    return bytes(body)

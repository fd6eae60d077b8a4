"""One HTTPS request over a connection of its own, by httpcore over a socket of ours: docs/decisions/0017.

The socket bounds the exchange as a whole: in time, whatever a server does between two bytes, and in bytes that are not
content. It also knows whether the server has the request. A connection is not used again: if the server closes it
meanwhile, nobody can say whether the next request was heard, and no mail may be sent twice.
"""

from __future__ import annotations

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
from shared.deadline import Deadline
from shared.errors import Misconfigured

#: The longest body that is read as a whole.
MAX_BODY_BYTES = 256 * 1024

#: Bytes of an exchange that are not content (status line, headers, chunk sizes, trailers) may be as many as the content
#: has, and so many more. httpcore refuses headers of 100 KiB, and reads up to 64 KiB ahead.
MAX_FRAMING_BYTES = 160 * 1024

#: The longest that one address of the server may take to accept the connection, in seconds.
CONNECT_SECONDS = 10.0

#: Gives a connection that was begun before the deadline, or raises `OSError`.
Connect = Callable[[Deadline], socket.socket]


class RequestNotSent(OSError):
    """The server does not have the whole request; `__cause__` says why."""


class NoResponse(OSError):
    """The server has the request, or may have it, and no complete response came; `__cause__` says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an HTTPS server; `path` is percent-encoded and holds the query."""

    method: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    def to_httpcore(self) -> httpcore.Request:
        """The request with the headers that every one has; its own go before them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        always = {"Host": name if self.port == 443 else f"{name}:{self.port}", "Connection": "close"}
        if self.body is not None:
            always["Content-Length"] = str(len(self.body))
        given = {each.lower() for each in self.headers}
        headers = {each: value for each, value in always.items() if each.lower() not in given} | dict(self.headers)
        return httpcore.Request(
            self.method,
            httpcore.URL(scheme=b"https", host=self.host.encode(), port=self.port, target=self.path.encode()),
            headers=[(each.encode("latin-1"), value.strip().encode("latin-1")) for each, value in headers.items()],
            content=self.body,
        )


class Response:
    """A status, the headers, and a body that is still to be read."""

    def __init__(self, status: int, headers: Message, body: Iterator[bytes]) -> None:
        """Names in `headers` are found in upper and lower case."""
        self.status = status
        self.headers = headers
        self._body = body

    def pieces(self) -> Iterator[bytes]:
        """The body, as it comes. Raises `NoResponse` when it breaks off."""
        try:
            yield from self._body
        except (OSError, httpcore.ProtocolError) as error:
            raise NoResponse from error


@contextmanager
def exchange(
    request: Request, connect: Connect, tls: ssl.SSLContext, *, start_by: Deadline, end_by: Deadline
) -> Iterator[Response]:
    """Make the request, and give the response as soon as its headers are there.

    The request is not begun after `start_by`, and all is over by `end_by`. Raises `RequestNotSent` and `NoResponse`.
    """
    bounded = _BoundedConnection(connect, start_by, end_by)
    origin = httpcore.Origin(b"https", request.host.encode(), request.port)
    connection = httpcore.HTTPConnection(origin, ssl_context=tls, network_backend=bounded)
    try:
        try:
            answer = connection.handle_request(request.to_httpcore())
        except (OSError, httpcore.ProtocolError) as error:
            raise (NoResponse if bounded.has_sent else RequestNotSent) from error
        yield Response(answer.status, _message(answer.headers), bounded.counted(answer.iter_stream()))
    finally:
        bounded.close()


def _message(headers: Iterable[tuple[bytes, bytes]]) -> Message:
    message = Message()
    for name, value in headers:
        message[name.decode("latin-1")] = value.decode("latin-1")
    return message


class TooMuchFraming(OSError):
    """A response has more bytes around its content than any honest server sends."""


class _BoundedConnection(httpcore.NetworkBackend, httpcore.NetworkStream):
    """The connection of one exchange, as httpcore wants it: before, during and after the TLS handshake."""

    def __init__(self, connect: Connect, start_by: Deadline, end_by: Deadline) -> None:
        self._dial = connect
        self._start_by = start_by
        self._end_by = end_by
        self._sock: socket.socket | None = None
        self._bytes_left = MAX_FRAMING_BYTES
        self._is_cut_off = False
        self._is_reading = False

    @property
    def has_sent(self) -> bool:
        """Whether the whole request was written: httpcore reads when it has, or when the server takes no more of it."""
        return self._is_reading and not self._is_cut_off

    def counted(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces of the body, each of which allows for more bytes to come."""
        for piece in body:
            self._bytes_left += 2 * len(piece)
            yield piece

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Connect, not to where httpcore wants but as `connect` does: addresses are checked there."""
        self._sock = self._dial(self._start_by)
        return self

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The handshake as a whole is bounded by the socket's time limit."""
        sock = self._bounded(self._start_by)
        self._sock = ssl_context.wrap_socket(sock, server_hostname=server_hostname, suppress_ragged_eofs=False)
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes; none at the end."""
        self._is_reading = True
        data = self._bounded(self._end_by).recv(max_bytes)
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise TooMuchFraming
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it. A server that refuses a request may answer before it has read it, so httpcore goes on to read."""
        rest = memoryview(buffer)
        try:
            while rest:
                rest = rest[self._bounded(self._end_by).send(rest) :]
        except (BrokenPipeError, ConnectionResetError) as error:
            self._is_cut_off = True
            raise httpcore.WriteError from error

    def close(self) -> None:
        """Close the connection, if there is one; more than once if need be."""
        if self._sock is not None:
            self._sock.close()

    def _bounded(self, until: Deadline) -> socket.socket:
        if self._sock is None:
            raise ConnectionError("there is no connection")
        self._sock.settimeout(seconds_left(until))
        return self._sock


def why(error: OSError) -> str:
    """The reason for a `RequestNotSent` or `NoResponse`, as the end of a sentence, for people."""
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
    """A response as a whole; names in `headers` are in lower case. A body that is too long, or breaks off, is empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpsEndpoint:
    """An HTTPS server named by a setting, and the path below which it is asked."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext = field(repr=False, compare=False)

    @classmethod
    def parse(cls, setting: str, url: str, tls: ssl.SSLContext) -> HttpsEndpoint:
        """From an `https://` URL; raises `Misconfigured` naming the setting."""
        shown = url.rpartition("@")[2]  # what stands before it may be a secret
        expected = Misconfigured(f"{setting}={shown!r}: expected an https:// URL, without user, query and fragment.")
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError:
            raise expected from None
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise expected
        if not re.fullmatch(r"[!-~]*", parts.path):
            raise expected
        return cls(parts.hostname, port, parts.path.rstrip("/"), tls)

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
        """Make one request below the endpoint's path; see `exchange` for deadlines and errors."""
        request = Request(method, self.host, self.port, self.path + path or "/", headers, body)
        with exchange(request, self._connect, self.tls, start_by=start_by, end_by=end_by) as response:
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lower, _short_body(response))

    def _connect(self, until: Deadline) -> socket.socket:
        return dial(self.host, self.port, until, CONNECT_SECONDS)


def _short_body(response: Response) -> bytes:
    body = bytearray()
    try:
        for piece in response.pieces():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return b""
    except NoResponse:
        return b""  # the status says what has become of the request
    return bytes(body)

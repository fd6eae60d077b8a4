"""One HTTPS request with a deadline, and the knowledge of how far it came.

`requests` bounds each read and not the whole: a server that drips its answer would outlive the attempt. And it tells
a request that was never handed over from one that may have been heard only by the kinds of its exceptions. Here, each
request has a connection of its own: on a kept-open one that the server closes meanwhile, nobody can say whether the
request was heard, and a mail is not to be sent twice.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from sender.transport.envelope import Deadline
from sender.transport.wire import dial, seconds_left
from shared.errors import Misconfigured

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: More than any answer that is read here.
MAX_ANSWER_BYTES = 256 * 1024

#: The longest that one address of the server may take to accept the connection, in seconds.
CONNECT_SECONDS = 10.0


class Unheard(OSError):
    """The server does not have the whole request; `__cause__` says why."""


class Unanswered(OSError):
    """The server has the request, or may have it, and no complete answer came; `__cause__` says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; names in `headers` are in lower case. The body may be cut short, the rest is complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """An HTTPS server, and the path below which it is asked."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext = field(repr=False, compare=False)

    @classmethod
    def parse(cls, setting: str, url: str, tls: ssl.SSLContext) -> Site:
        """From an `https://` URL; raises `Misconfigured` naming the setting. `tls` becomes the site's own."""
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
        tls.sslsocket_class = BoundedSocket
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
        """Make one request below the site's path; it is not begun after `start_by`, and over by `end_by`.

        Raises `Unheard` or `Unanswered`.
        """
        connection = http.client.HTTPConnection(self.host, self.port)
        try:
            connection.sock = self._connect(start_by, end_by)
            heard = self._hand_over(connection, method, self.path + path or "/", headers, body)
            return _answer_to(connection, heard)
        finally:
            connection.close()

    def _connect(self, start_by: Deadline, end_by: Deadline) -> ssl.SSLSocket:
        try:
            with dial(self.host, self.port, start_by, CONNECT_SECONDS) as plain:  # which wrapping leaves empty
                plain.settimeout(seconds_left(start_by))
                sock = cast(BoundedSocket, self.tls.wrap_socket(plain, server_hostname=self.host))
        except OSError as error:
            raise Unheard from error
        sock.until = end_by
        return sock

    @staticmethod
    def _hand_over(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> bool:
        """Whether the server let the whole request be written; one that refuses it may answer before that."""
        try:
            connection.request(method, path, body, {**headers, "Connection": "close"})
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:  # a request that is not complete is not acted upon (RFC 9112 section 8)
            raise Unheard from error
        return True


def _answer_to(connection: http.client.HTTPConnection, heard: bool) -> Answer:
    try:
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise (Unanswered if heard else Unheard) from error
    try:
        body = response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException):
        body = b""  # the status says what has become of the request
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


class BoundedSocket(ssl.SSLSocket):
    """A socket that gives each read and each write no more than what is left until its deadline."""

    until: Deadline | None = None  # the handshake has the socket's own time limit

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As the parent's."""
        self._bound()
        return super().send(data, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """As the parent's."""
        self._bound()
        return super().recv_into(buffer, nbytes, flags)

    def _bound(self) -> None:
        if self.until is not None:
            self.settimeout(seconds_left(self.until))


def why(error: OSError) -> str:
    """What went wrong on the way to a server, as the end of a sentence, for people."""
    match error.__cause__:
        case TimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError() as cause:
            return f"its certificate can't be trusted: {cause.verify_message.rstrip('.')}"
        case http.client.HTTPException():
            return "its answer is not HTTP, or is incomplete"
        case OSError() as cause:
            return str(cause.strerror or cause).rstrip(".")
    return "the connection was lost"

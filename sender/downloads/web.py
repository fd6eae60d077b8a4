"""Fetches files from the Web: only https, only from checked addresses, within a time and a size limit."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import idna
from httpcore import LocalProtocolError

from sender.document.attachments import is_media_type
from sender.downloads.guard import Hosts, Resolve, public_addresses
from sender.downloads.source import Announce, CannotFetch, Fetched, WebFile, announce_nothing
from sender.net.dial import connect
from sender.net.http import NoResponse, Request, RequestNotSent, Response, exchange
from shared.deadline import Deadline

MAX_REDIRECTS = 3

_MAX_ADDRESSES = 4
#: Longer header values are ignored: the library parses their parameters in quadratic time.
_MAX_HEADER = 2000
#: Time limit for the connection to one address, in seconds.
_CONNECT_SECONDS = 5.0
#: The transient 4xx statuses (RFC 9110, RFC 6585).
_TRANSIENT_STATUSES = (408, 425, 429)
#: What servers send for files of unknown type.
_NO_TYPE = ("application/octet-stream", "binary/octet-stream", "application/x-unknown")

_A_URL = "a https: URL such as 'https://example.com/a.pdf', without user name and password"
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|[0-9a-f:.]*:[0-9a-f:.]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL; `host` is in lower case and A-labels, `path` is percent-encoded and includes the query."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises `CannotFetch` unless it is an https: URL that all parsers read alike."""
        if re.search(r"[\0-\x1f\x7f\\]", url):
            raise CannotFetch("a URL with a backslash or a control character", _A_URL)
        try:
            parts = urlsplit(url.strip())
            port = parts.port or 443
            host = (parts.hostname or "").rstrip(".")
            host = host if host.isascii() else idna.encode(host, uts46=True).decode()
        except (ValueError, idna.IDNAError):
            raise CannotFetch("a malformed URL", _A_URL) from None
        if parts.scheme.lower() != "https" or parts.username is not None or not _HOST.fullmatch(host):
            raise CannotFetch("another kind of URL", _A_URL)
        query = f"?{parts.query}" if parts.query else ""
        return cls(host, port, quote((parts.path or "/") + query, safe="!#$%&'()*+,/:;=?@[]~", errors="replace"))


@cache
def _system_authorities() -> ssl.SSLContext:
    """Trusts the system's certificate authorities. To load them takes a tenth of a start, and few senders download."""
    return ssl.create_default_context()


class WebDownloads:
    """Fetches files by HTTP/1.1, each over its own connection (few mails need two files from one host)."""

    def __init__(self, hosts: Hosts, tls: ssl.SSLContext | None = None, resolve: Resolve = public_addresses) -> None:
        """`tls` trusts the system's certificate authorities by default, which the first download loads.

        `resolve` finds the addresses to connect to and keeps private ones out.
        """
        self._hosts = hosts
        self._resolve = resolve
        self._tls = tls

    def fetch(self, file: WebFile, limit: int, deadline: Deadline, announce: Announce = announce_nothing) -> Fetched:
        """Fetch a file of at most `limit` bytes before the deadline. Raises `CannotFetch` and what `announce` raises.

        If the process dies here, nothing has happened: the next attempt fetches the file again.
        """
        url, first = file.url, Target.parse(file.url)
        for _ in range(MAX_REDIRECTS + 1):
            target = Target.parse(url)
            same_site = (target.host, target.port) == (first.host, first.port)
            with _explained(), self._response(target, dict(file.headers) if same_site else {}, deadline) as response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    return _fetched(response, url, limit, announce)
                url = _redirected(url, location)
        raise CannotFetch(f"more than {MAX_REDIRECTS} redirects")

    def _response(
        self, target: Target, headers: Mapping[str, str], deadline: Deadline
    ) -> AbstractContextManager[Response]:
        if target.host not in self._hosts:
            raise CannotFetch("another host", "a URL on a host in ATTACHMENT_HOSTS")
        defaults = {"Accept-Encoding": "identity", "User-Agent": "Firepost"}
        request = Request("GET", target.host, target.port, target.path, defaults | dict(headers))

        def connect_to_checked(until: Deadline) -> socket.socket:
            """Connect to one of the resolved and checked addresses."""
            addresses = self._resolve(target.host, target.port, until)
            return connect(addresses[:_MAX_ADDRESSES], target.port, until, _CONNECT_SECONDS)

        return exchange(
            request, connect_to_checked, self._tls or _system_authorities(), start_by=deadline, end_by=deadline
        )


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise CannotFetch("a redirect to a malformed URL") from None


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turns errors of the exchange into `CannotFetch`."""
    try:
        yield
    except (RequestNotSent, NoResponse) as error:
        raise _explanation(error.__cause__) from None
    except zlib.error:
        raise CannotFetch("a damaged file") from None


def _explanation(cause: BaseException | None) -> CannotFetch:
    match cause:
        case TimeoutError():
            return CannotFetch("no complete answer in time", transient=True)
        case ssl.SSLCertVerificationError():
            return CannotFetch("a host without a valid certificate")
        case socket.gaierror(errno=number):
            return CannotFetch("a host name that does not resolve", transient=number == socket.EAI_AGAIN)
        case LocalProtocolError():
            return CannotFetch("headers that can't be sent", "'httpHeaders' as HTTP allows them")
    return CannotFetch("a connection that failed or broke off", transient=True)


def _fetched(response: Response, url: str, limit: int, announce: Announce) -> Fetched:
    if response.status != HTTPStatus.OK:
        transient = response.status >= 500 or response.status in _TRANSIENT_STATUSES
        raise CannotFetch(f"status {response.status}", transient=transient)
    media_type = _header(response, "Content-Type")
    useful = is_media_type(media_type) and media_type.partition(";")[0].strip().lower() not in _NO_TYPE
    disposition = Message()
    disposition["Content-Disposition"] = _header(response, "Content-Disposition")
    name = disposition.get_filename() or unquote(urlsplit(url).path)
    return Fetched(_content(response, limit, announce), media_type if useful else None, clean_name(name))


def _header(response: Response, name: str) -> str:
    """The header's value; empty if it is missing or too long to parse."""
    value = str(response.headers.get(name, "")).strip()
    return value if len(value) <= _MAX_HEADER else ""


def clean_name(name: str) -> str | None:
    """A file's name without folders and control characters. UTF-8 that was decoded as Latin-1 is repaired."""
    with contextlib.suppress(UnicodeError):
        name = name.encode("latin-1").decode()
    name = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "", name).strip()[-200:] or None


def _content(response: Response, limit: int, announce: Announce) -> bytes:
    """The body. Reading stops as soon as it is too large, so that no decompression bomb fills the memory."""
    received, content = 0, io.BytesIO()  # which gives its content away without copying it
    unpacker = _unpacker(_header(response, "Content-Encoding").lower())
    declared = _header(response, "Content-Length")
    if re.fullmatch("[0-9]{1,20}", declared):
        if int(declared) > limit:
            raise _too_large(limit)
        announce(int(declared))
    for piece in response.pieces():
        received += len(piece)
        content.write(unpacker.decompress(piece, limit - content.tell() + 1) if unpacker else piece)
        if max(received, content.tell()) > limit:
            raise _too_large(limit)
        announce(content.tell())
    if unpacker and not unpacker.eof:
        raise CannotFetch("a connection that failed or broke off", transient=True)
    return content.getvalue()


def _unpacker(encoding: str) -> Any:
    """The decompressor for a Content-Encoding; None if there is none. Some servers compress without being asked to."""
    if encoding in ("gzip", "x-gzip"):
        return zlib.decompressobj(wbits=31)
    if encoding not in ("", "identity"):
        raise CannotFetch("a file in an encoding that was not asked for")
    return None


def _too_large(limit: int) -> CannotFetch:
    return CannotFetch("a larger file", f"a file of at most {limit} bytes, which is what is left for this mail")

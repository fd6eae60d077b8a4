"""URLs of attachments, and what the web servers behind them answer, over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

import trustme

from sender.downloads.guard import Hosts, public_addresses
from sender.downloads.source import CannotFetch, WebFile
from sender.downloads.web import WebDownloads
from shared.deadline import Deadline
from tests.fuzz.generators import HOSTILE, Generator, listed, pick, rarely, tupled
from tests.fuzz.kind import Check, Kind
from tests.https_server import HttpsServer
from tests.patience import patience

_LIMIT = 50_000
_SECONDS = patience(2.0)

_HOSTS = (
    *(
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0",
        "localhost",
    ),
    *(
        "169.254.169.254",
        "metadata.google.internal",
        "10.0.0.1",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "192.168.0.1.",
        "１２７.０.０.１",
    ),
    *(
        "evil.example",
        "evil.example#@127.0.0.1",
        "a@127.0.0.1",
        "127.0.0.1:25",
        "[::1%25eth0]",
        "①②⑦.0.0.1",
        "a.b\\@127.0.0.1",
        "",
    ),
)
_SCHEMES = (
    "https://",
    "HTTPS://",
    "http://",
    "https:",
    "https:///",
    "//",
    "\\\\",
    "file://",
    "gopher://",
    "ftp://",
    "https:\\\\",
    "",
)
_PATHS = (
    "",
    "/",
    "/a.pdf",
    "/..",
    "?x",
    "#x",
    ":443",
    ":0",
    ":65536",
    ":x",
    "/%0d%0aHost:%20x",
    "/\r\nHost: x",
    "/ü",
    "/a b",
)
_PARTS = tupled(pick(*_SCHEMES), rarely(HOSTILE, pick(*_HOSTS)), rarely(HOSTILE, pick(*_PATHS)))
_URLS: Generator[str] = lambda random: "".join(_PARTS(random))  # noqa: E731


class _Connected(AssertionError):
    """A connection to an address that is not public was about to be made."""


def _private(host: str, port: int, deadline: Deadline) -> Sequence[str]:
    """Resolves every name to an address that is not public, and numbers as the system does."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return [host if ":" in host else "10.0.0.1"]


@contextlib.contextmanager
def _urls() -> Iterator[Check]:
    def resolve(host: str, port: int, deadline: Deadline) -> Sequence[str]:
        found = public_addresses(host, port, deadline, _private)
        if not set(found) & {"1.1.1.1"}:
            raise _Connected(host, found)
        return found

    web = WebDownloads(Hosts.parse("*"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), resolve)

    def check(url: str) -> None:
        try:
            web.fetch(WebFile(url), _LIMIT, Deadline.after(_SECONDS))
        except CannotFetch as error:
            assert len(error.found) < 200
            return
        raise AssertionError("fetched")

    yield check


_STATUS = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 302 Found\r\n",
        b"HTTP/1.1 206 Partial\r\n",
        b"HTTP/1.1 500 No\r\n",
    ),
    *(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 99999 x\r\n",
        b"HTTP/9.9 200 OK\r\n",
        b"220 mx\r\n",
        b"",
        b"\0",
    ),
)
_HEADERS = (
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 5, 6\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: br\r\n",
    ),
    *(
        b"Location: /next\r\n",
        b"Location: https://127.0.0.1/\r\n",
        b"Location: http://files.test/\r\n",
        b"Location: //[::1\r\n",
    ),
    *(
        b"Location: https://\xff/\r\n",
        b"Content-Type: text/html; charset=\xff\r\n",
        b"Content-Type: a/b\r\n folded: x\r\n",
        b"X: " + b"x" * 70_000,
    ),
    *(
        b"Content-Disposition: attachment; filename*=utf-8''%0d%0aBcc\r\n",
        b"Content-Disposition: x; filename=../../a\r\n",
        b": x\r\n",
    ),
    *(
        b"Content-Disposition: attachment; filename*0*=a''b; filename*1=c\r\n",
        b"no colon\r\n",
        b"\0: \0\r\n",
        b"X: y\n",
        b"\x85\r\n",
    ),
)
_BOMB = gzip.compress(b"\0" * 10_000_000)
_BODIES = (
    *(
        b"hello",
        b"",
        b"-1\r\n",
        b"-5\r\nhello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nx",
        b"0x5\r\nhello",
        b"5;" + b"x" * 9000 + b"\r\n",
    ),
    *(
        _BOMB,
        _BOMB[:50],
        gzip.compress(b"ok"),
        b"x" * 60_000,
        b"0\r\nX: y\r\n" * 2000,
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"\xff" * 100,
    ),
)
_REPEATED = (
    b"",
    b"",
    b"",
    b"",
    b"x" * 65_536,
    b"5\r\nhello\r\n" * 200,
    b"X: y\r\n" * 200,
    b"1\r\nx\r\n" * 200,
    b"\0" * 1000,
)
_ANSWERS = tupled(
    pick(*_STATUS[:1] * 9, *_STATUS),
    lambda random: b"".join(listed(pick(*_HEADERS), 4)(random)),
    pick(b"\r\n", b"\r\n", b"\r\n", b"\n", b""),
    lambda random: b"".join(listed(pick(*_BODIES), 3)(random)),
    pick(*_REPEATED),
)


@contextlib.contextmanager
def _web_servers() -> Iterator[Check]:
    authority = trustme.CA()
    tls, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("files.test").configure_cert(tls)
    authority.configure_trust(ours)

    def resolve(host: str, port: int, deadline: Deadline) -> Sequence[str]:
        return ["127.0.0.1"] if host == "files.test" else public_addresses(host, port, deadline, _private)

    web = WebDownloads(Hosts.parse("*"), ours, resolve)
    with HttpsServer(tls) as server:
        url = server.url.replace("localhost", "files.test") + "/a"

        def check(given: tuple[bytes, bytes, bytes, bytes, bytes]) -> None:
            *head, repeated = given
            server.say(b"".join(head), repeated)
            try:
                fetched = web.fetch(WebFile(url), _LIMIT, Deadline.after(_SECONDS))
            except CannotFetch as error:
                assert len(error.found) < 200
                return
            finally:
                server.forget()
            assert len(fetched.content) <= _LIMIT
            assert not set(fetched.filename or "") & set("\r\n\0/\\")
            assert not set(fetched.media_type or "") & set("\r\n\0")

        yield check


KINDS: Final = (
    Kind(
        "URLs of attachments", "no connection to an address that is not public, in whatever form", _URLS, _urls, few=200
    ),
    Kind(
        "answers of web servers",
        "a file within the limits of size and time, or an error",
        _ANSWERS,
        _web_servers,
        few=30,
    ),
)

"""Downloads from a real HTTPS server.

It listens on a loopback address, which production refuses. So tests pass `WebDownloads` another `resolve`, which maps
`files.test` and `other.test` to that address and leaves all other names to production's guard.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trustme

from sender.downloads.guard import Hosts, public_addresses
from sender.downloads.source import CannotFetch, Fetched, WebFile
from sender.downloads.web import Target, WebDownloads, clean_name
from shared.deadline import Deadline
from tests.https_server import HttpsServer

LIMIT = 100_000
AUTHORITY = trustme.CA()


class Names:
    """A resolver for the tests' hosts that records its queries."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[list[str]]] = {"files.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}

    def __call__(self, host: str, port: int, deadline: Deadline) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.answers:
            return public_addresses(host, port, deadline)
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(scope="module")
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("files.test", "other.test").configure_cert(context)
    return context


@pytest.fixture
def server(server_tls: ssl.SSLContext) -> Iterator[HttpsServer]:
    with HttpsServer(server_tls) as server:
        yield server


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture(scope="module")
def client_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
def web(names: Names, client_tls: ssl.SSLContext) -> WebDownloads:
    return WebDownloads(Hosts.parse("*"), client_tls, names)


def url(server: HttpsServer, path: str = "/a.pdf", host: str = "files.test") -> str:
    return server.url.replace("localhost", host) + path


def get(web: WebDownloads, address: str, seconds: float = 5.0, **headers: str) -> Fetched:
    return web.fetch(WebFile(address, tuple(headers.items())), LIMIT, Deadline.after(seconds))


def refused(web: WebDownloads, address: str, seconds: float = 5.0) -> tuple[str, bool]:
    with pytest.raises(CannotFetch) as caught:
        get(web, address, seconds)
    return caught.value.found, caught.value.transient


def test_a_file_has_the_type_and_name_that_the_server_gives(web: WebDownloads, server: HttpsServer) -> None:
    server.answer(
        200, {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": 'attachment; filename="b.csv"'}, b"1,2"
    )
    assert get(web, url(server)) == Fetched(b"1,2", "text/csv; charset=utf-8", "b.csv")


@pytest.mark.parametrize(
    ("path", "headers", "media_type", "filename"),
    [
        pytest.param("/x/a%20b.pdf?v=1", {}, None, "a b.pdf", id="name from the URL"),
        pytest.param("/o/reports%2F2024%2Fa.pdf?alt=media", {}, None, "a.pdf", id="a Firebase Storage URL"),
        pytest.param("/", {}, None, None, id="no name"),
        pytest.param("/a", {"Content-Type": "binary/octet-stream"}, None, "a", id="a generic type"),
        pytest.param("/a", {"Content-Type": "no type"}, None, "a", id="an invalid type"),
        pytest.param("/a", {"Content-Disposition": "attachment"}, None, "a", id="disposition without name"),
        pytest.param(
            "/a",
            {"Content-Disposition": "inline; filename*=UTF-8''R%C3%A9sum%C3%A9.pdf"},
            None,
            "Résumé.pdf",
            id="2231",
        ),
        pytest.param(
            "/a", {"Content-Disposition": 'inline; filename="../../etc/passwd"'}, None, "passwd", id="folders"
        ),
    ],
)
def test_name_and_type_are_used_if_they_are_meaningful(
    web: WebDownloads, server: HttpsServer, path: str, headers: dict[str, str], media_type: str | None, filename: Any
) -> None:
    server.answer(200, headers, b"x")
    assert get(web, url(server, path)) == Fetched(b"x", media_type, filename)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        pytest.param("a\r\nBcc: x.pdf", "aBcc: x.pdf", id="line break"),
        pytest.param("C:\\temp\\a.pdf", "a.pdf", id="path on Windows"),
        pytest.param("Ã¼.pdf", "ü.pdf", id="UTF-8 read as Latin-1"),
        pytest.param("ü.pdf", "ü.pdf", id="Latin-1"),
        pytest.param("x" * 300 + ".pdf", "x" * 196 + ".pdf", id="too long"),
        pytest.param("a/", None, id="a folder"),
        pytest.param("\u2028", None, id="nothing left"),
    ],
)
def test_names_are_cleaned(name: str, clean: str | None) -> None:
    assert clean_name(name) == clean


def test_the_document_s_headers_are_sent(web: WebDownloads, server: HttpsServer) -> None:
    server.answer(200)
    get(web, url(server, "/a b?c=ü"), Authorization="Bearer t")
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer t"
    assert request.headers["host"] == url(server).split("/")[2]
    assert request.path == "/a%20b?c=%C3%BC"


class TestRedirects:
    def test_are_followed_up_to_a_limit(self, web: WebDownloads, server: HttpsServer) -> None:
        for number in range(3):
            server.answer(302, {"Location": f"/{number}"})
        server.answer(200, {}, b"x")
        assert get(web, url(server)).content == b"x"
        assert [request.path for request in server.requests] == ["/a.pdf", "/0", "/1", "/2"]

    def test_beyond_the_limit_are_refused(self, web: WebDownloads, server: HttpsServer) -> None:
        server.usually(307, {"Location": "/a"})
        assert refused(web, url(server)) == ("more than 3 redirects", False)
        assert len(server.requests) == 4

    def test_to_another_host_do_not_forward_the_headers(self, web: WebDownloads, server: HttpsServer) -> None:
        server.answer(302, {"Location": url(server, "/b", host="other.test")})
        server.answer(200, {}, b"x")
        get(web, url(server), Authorization="Bearer t")
        assert [request.headers.get("authorization") for request in server.requests] == ["Bearer t", None]

    @pytest.mark.parametrize(
        ("location", "found"),
        [
            pytest.param("https://169.254.169.254/token", "a host without a public address", id="metadata"),
            pytest.param("https://localhost/", "a host without a public address", id="this machine by name"),
            pytest.param("https://[::ffff:10.0.0.1]/", "a host without a public address", id="private, IPv4-mapped"),
            pytest.param("http://files.test/", "another kind of URL", id="without TLS"),
            pytest.param("file:///etc/passwd", "another kind of URL", id="to a file"),
            pytest.param("https://user@files.test/", "another kind of URL", id="with a user"),
            pytest.param("https://[::1", "a redirect to a malformed URL", id="to nowhere"),
        ],
    )
    def test_to_private_addresses_or_other_kinds_of_url_are_refused(
        self, web: WebDownloads, server: HttpsServer, location: str, found: str
    ) -> None:
        server.answer(302, {"Location": location})
        assert refused(web, url(server)) == (found, False)
        assert len(server.requests) == 1

    def test_to_a_host_that_is_not_allowed_are_refused(
        self, server: HttpsServer, names: Names, client_tls: ssl.SSLContext
    ) -> None:
        server.answer(302, {"Location": url(server, host="other.test")})
        assert refused(WebDownloads(Hosts.parse("files.test"), client_tls, names), url(server)) == (
            "another host",
            False,
        )
        assert names.asked == ["files.test"]


class TestAddresses:
    def test_are_resolved_once_and_pinned(self, web: WebDownloads, server: HttpsServer, names: Names) -> None:
        names.answers["files.test"] = [["127.0.0.1"], ["127.0.0.2"]]  # rebinding: the next answer is another one
        server.answer(200, {}, b"x")
        assert get(web, url(server)).content == b"x"
        assert names.asked == ["files.test"]

    def test_are_resolved_and_checked_again_for_each_redirect(
        self, web: WebDownloads, server: HttpsServer, names: Names
    ) -> None:
        server.answer(302, {"Location": "/b"})
        server.answer(200, {}, b"x")
        get(web, url(server))
        assert names.asked == ["files.test", "files.test"]

    def test_are_tried_in_turn(self, web: WebDownloads, server: HttpsServer, names: Names) -> None:
        names.answers["files.test"] = [["127.0.0.2", "127.0.0.1"]]  # the server listens on the second only
        server.answer(200, {}, b"x")
        assert get(web, url(server)).content == b"x"

    def test_of_this_machine_are_refused_by_production_s_guard(self, server: HttpsServer) -> None:
        assert refused(WebDownloads(Hosts.parse("*")), server.url) == ("a host without a public address", False)


def test_a_certificate_for_another_name_is_refused(web: WebDownloads, server: HttpsServer, names: Names) -> None:
    names.answers["files.example"] = [["127.0.0.1"]]
    assert refused(web, url(server, host="files.example")) == ("a host without a valid certificate", False)
    assert not server.requests


def test_a_certificate_from_an_unknown_authority_is_refused(server: HttpsServer, names: Names) -> None:
    assert (
        refused(WebDownloads(Hosts.parse("*"), resolve=names), url(server))[0] == "a host without a valid certificate"
    )


class TestSize:
    def test_up_to_the_limit_is_accepted(self, web: WebDownloads, server: HttpsServer) -> None:
        server.answer(200, {}, b"x" * LIMIT)
        assert len(get(web, url(server)).content) == LIMIT

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            pytest.param({"Content-Length": "1000000000000"}, b"", id="announced, and never read"),
            pytest.param(
                {"Connection": "close", "Transfer-Encoding": "chunked"}, b"20000\r\n" + b"x" * 0x20000, id="in chunks"
            ),
            pytest.param({"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000_000), id="unpacked"),
            pytest.param(
                {"Content-Encoding": "gzip"}, gzip.compress(b"") + b"x" * (LIMIT + 1), id="after the compressed data"
            ),
        ],
    )
    def test_beyond_the_limit_is_refused(
        self, web: WebDownloads, server: HttpsServer, headers: dict[str, str], body: bytes
    ) -> None:
        without_length = {"Content-Length": headers.pop("Content-Length", str(len(body)))}
        server.answer(200, ({} if "Transfer-Encoding" in headers else without_length) | headers, body)
        assert refused(web, url(server)) == ("a larger file", False)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FILLER = b"x" * 65536


class TestHostileServers:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("head", "repeated"),
        [
            *(
                pytest.param(CHUNKED + size + b"\r\n", FILLER, id=f"chunk size {size!r}")
                for size in (b"-1", b"-5", b"+5", b"0x5", b"1_0", b" 5", b"", b"\xb2", b"f" * 21)
            ),
            pytest.param(CHUNKED + b"5;", FILLER, id="a chunk extension without end"),
            pytest.param(CHUNKED, b"1;" + b"x" * 1000 + b"\r\nx\r\n", id="chunks of extensions mostly"),
            pytest.param(CHUNKED, b"1\r\nx\r\n" * 1000, id="chunks of one byte"),
            pytest.param(CHUNKED + b"0\r\n", b"A: " + b"x" * 1000 + b"\r\n", id="trailers without end"),
            pytest.param(CHUNKED + b"0\r\nA: ", FILLER, id="a trailer without end"),
            pytest.param(OK, b"A: b\r\n" * 1000, id="headers without end"),
            pytest.param(OK + b"A: ", FILLER, id="a header without end"),
            pytest.param(OK + b"A: b\r\n", b" folded\r\n" * 1000, id="a folded header without end"),
            pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, id="interim responses without end"),
            pytest.param(b"HTTP/1.1 200 ", FILLER, id="a reason without end"),
            pytest.param(OK + b"Content-Length: -1\r\n\r\n", FILLER, id="a negative length"),
            pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", FILLER, id="two lengths"),
        ],
    )
    def test_cannot_fill_the_memory(self, web: WebDownloads, server: HttpsServer, head: bytes, repeated: bytes) -> None:
        server.say(head, repeated)
        tracemalloc.start()
        try:
            found = refused(web, url(server), seconds=20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found == ("a connection that failed or broke off", True)
        assert peak < 4_000_000

    @pytest.mark.parametrize("head", [OK + b"\r\n", CHUNKED + b"ffffffff\r\n"], ids=["without length", "one chunk"])
    def test_cannot_send_an_endless_body(self, web: WebDownloads, server: HttpsServer, head: bytes) -> None:
        server.say(head, FILLER)
        assert refused(web, url(server)) == ("a larger file", False)

    def test_cannot_slow_down_the_parsing_of_a_disposition(self, web: WebDownloads, server: HttpsServer) -> None:
        """The library's own parser takes quadratic time."""
        server.answer(200, {"Content-Disposition": 'attachment; filename="' + ";" * 50_000}, b"x")
        started = time.process_time()
        assert get(web, url(server)) == Fetched(b"x", None, "a.pdf")
        assert time.process_time() - started < 1

    def test_small_chunks_are_accepted(self, web: WebDownloads, server: HttpsServer) -> None:
        server.say(CHUNKED + b"8;a=b\r\n12345678\r\n" * 12_000 + b"0\r\nA: b\r\n\r\n")
        assert len(get(web, url(server)).content) == 96_000


def test_headers_that_http_does_not_allow_are_refused(web: WebDownloads, server: HttpsServer) -> None:
    with pytest.raises(CannotFetch, match="headers that can't be sent"):
        get(web, url(server), 5.0, **{"X Y": "z"})
    assert not server.requests


def test_a_compressed_file_is_decompressed(web: WebDownloads, server: HttpsServer) -> None:
    server.answer(200, {"Content-Encoding": "gzip"}, gzip.compress(b"hello"))
    assert get(web, url(server)).content == b"hello"


class TestTime:
    @pytest.mark.parametrize("manner", ["silence", "drip"])
    def test_is_limited_in_total(self, web: WebDownloads, server: HttpsServer, manner: str) -> None:
        server.misbehave(manner)
        started = time.monotonic()
        assert refused(web, url(server), seconds=0.3) == ("no complete answer in time", True)
        assert time.monotonic() - started < 2

    def test_that_has_run_out_allows_no_request(self, web: WebDownloads, server: HttpsServer) -> None:
        assert refused(web, url(server), seconds=0) == ("no complete answer in time", True)
        assert not server.requests


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (404, False),
        (403, False),
        (401, False),
        (204, False),
        (304, False),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
    ],
)
def test_any_other_status_is_a_transient_or_permanent_failure(
    web: WebDownloads, server: HttpsServer, status: int, transient: bool
) -> None:
    server.answer(status)
    assert refused(web, url(server)) == (f"status {status}", transient)


@pytest.mark.parametrize("manner", ["drop", "nonsense"])
def test_a_broken_connection_is_transient(web: WebDownloads, server: HttpsServer, manner: str) -> None:
    server.misbehave(manner)
    assert refused(web, url(server)) == ("a connection that failed or broke off", True)


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        pytest.param({"Content-Length": "100"}, b"half", "a connection that failed or broke off", id="length"),
        pytest.param(
            {"Content-Encoding": "gzip"},
            gzip.compress(b"x" * 99)[:20],
            "a connection that failed or broke off",
            id="gzip",
        ),
        pytest.param({"Content-Encoding": "gzip"}, b"not gzip", "a damaged file", id="not gzip"),
        pytest.param({"Content-Encoding": "br"}, b"x", "a file in an encoding that was not asked for", id="br"),
    ],
)
def test_an_incomplete_or_damaged_file_is_refused(
    web: WebDownloads, server: HttpsServer, headers: dict[str, str], body: bytes, found: str
) -> None:
    server.answer(200, headers, body)
    assert refused(web, url(server))[0] == found


def test_a_closed_port_is_transient(web: WebDownloads) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refused(web, f"https://files.test:{port}/") == ("a connection that failed or broke off", True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(socket.gaierror(socket.EAI_NONAME, ""), ("a host name that does not resolve", False), id="none"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, ""), ("a host name that does not resolve", True), id="for now"),
    ],
)
def test_a_name_that_does_not_resolve_is_transient_or_permanent(error: OSError, expected: tuple[str, bool]) -> None:
    def resolve(host: str, port: int, deadline: Deadline) -> Sequence[str]:
        raise error

    assert refused(WebDownloads(Hosts.parse("*"), resolve=resolve), "https://files.test/") == expected


@pytest.mark.parametrize(
    ("address", "target"),
    [
        pytest.param("https://X.Y/a/b?c=d#e", Target("x.y", 443, "/a/b?c=d"), id="usual"),
        pytest.param("HTTPS://x.y", Target("x.y", 443, "/"), id="no path"),
        pytest.param("https://x.y:8443/", Target("x.y", 8443, "/"), id="port"),
        pytest.param("https://x.y./", Target("x.y", 443, "/"), id="absolute name"),
        pytest.param("https://bücher.example/ü", Target("xn--bcher-kva.example", 443, "/%C3%BC"), id="IDN"),
        pytest.param("https://[2606:4700::1111]/", Target("2606:4700::1111", 443, "/"), id="IPv6"),
        pytest.param("https://x.y/%2F%20?a=%26", Target("x.y", 443, "/%2F%20?a=%26"), id="already encoded"),
    ],
)
def test_urls_are_parsed(address: str, target: Target) -> None:
    assert Target.parse(address) == target


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://x.y/",
            "https:///a",
            "https://",
            "https:x.y",
            "https://u:p@x.y/",
            "https://@x.y/",
            "https://x.y:99999/",
        ),
        *("https://x.y\\@evil.z/", "https://x.y/\r\nHost: evil", "https://x y/", "https://x..y/", "https://[::1/"),
        *(f"https://{'a' * 64}.y/", f"https://{'a.' * 130}y/", "https://x.y%2f.evil/", "https://[fe80::1%25eth0]/"),
    ],
)
def test_ambiguous_urls_are_refused(address: str) -> None:
    with pytest.raises(CannotFetch):
        Target.parse(address)

from __future__ import annotations

import ssl
import time

import pytest
import trustme

from sender.net.http import Answer, HttpsEndpoint, NoResponse, Request, RequestNotSent, why
from shared.errors import Misconfigured
from tests.https_server import HttpsServer, deaf_port
from tests.unit.sender.transport.builders import pem, soon, trusting


def endpoint_at(server: HttpsServer, path: str = "") -> HttpsEndpoint:
    return HttpsEndpoint.parse("X_URL", server.url + path, trusting())


def post(endpoint: HttpsEndpoint, body: bytes = b"{}", seconds: float = 5.0) -> Answer:
    return endpoint.ask("POST", "/mail", {"X-A": "b"}, body, start_by=soon(seconds), end_by=soon(seconds))


def test_a_request_is_answered(https: HttpsServer) -> None:
    https.answer(202, {"X-Message-Id": "q1"}, b"done")
    answer = post(endpoint_at(https, "/api/"), b'{"a": 1}')
    assert (answer.status, answer.headers["x-message-id"], answer.body) == (202, "q1", b"done")
    [request] = https.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/mail", b'{"a": 1}')
    assert request.headers["x-a"] == "b"
    assert request.headers["content-length"] == "8"


@pytest.mark.parametrize("manner", ["drop", "silence", "drip", "nonsense"])
def test_without_an_answer_to_a_complete_request_there_is_no_response(https: HttpsServer, manner: str) -> None:
    https.misbehave(manner)
    start = time.monotonic()
    with pytest.raises(NoResponse):
        post(endpoint_at(https), seconds=0.3)
    assert time.monotonic() - start < 2
    assert len(https.requests) == 1


def test_the_status_counts_even_if_the_body_is_incomplete(https: HttpsServer) -> None:
    https.misbehave("half")
    answer = post(endpoint_at(https))
    assert (answer.status, answer.headers["x-message-id"]) == (202, "q1")


def test_the_status_counts_even_if_the_body_is_endless(https: HttpsServer) -> None:
    https.say(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: q1\r\n\r\n", b"x" * 65536)
    assert post(endpoint_at(https)) == Answer(202, {"x-message-id": "q1"}, b"")


def test_endless_headers_are_no_response(https: HttpsServer) -> None:
    https.say(b"HTTP/1.1 202 Accepted\r\n", b"X-Slow: x\r\n" * 1000)
    with pytest.raises(NoResponse) as caught:
        post(endpoint_at(https))
    assert why(caught.value) == "its answer is not HTTP, or is incomplete"


def test_an_ipv6_address_is_bracketed_in_the_host_header() -> None:
    request = Request("GET", "2606:4700::1111", 8443, "/", {"host": "other"}).to_httpcore()
    assert [value for name, value in request.headers if name.lower() == b"host"] == [b"other"]
    request = Request("GET", "2606:4700::1111", 8443, "/", {}).to_httpcore()
    assert (b"Host", b"[2606:4700::1111]:8443") in request.headers


def test_an_answer_sent_before_the_request_was_read_is_received(https: HttpsServer) -> None:
    https.misbehave("early")
    try:
        assert post(endpoint_at(https), b"x" * 8_000_000).status == 413
    except RequestNotSent:  # the system may discard the answer with the connection; it never counts as a success
        assert https.requests == []


def test_an_untrusted_server_gets_no_request(https: HttpsServer) -> None:
    stranger = ssl.create_default_context(cadata=pem(trustme.CA()))
    with pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", https.url, stranger))
    assert why(caught.value).startswith("its certificate can't be trusted: ")
    assert https.requests == []


def test_the_certificate_must_have_the_hosts_name(https: HttpsServer) -> None:
    with pytest.raises(RequestNotSent, match=r"^$") as caught:
        post(HttpsEndpoint.parse("X_URL", https.url.replace("localhost", "127.0.0.1"), trusting()))
    assert "not valid for '127.0.0.1'" in why(caught.value)


def test_a_refused_connection_means_that_the_request_was_not_sent() -> None:
    with deaf_port() as port:
        pass
    with pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", f"https://localhost:{port}", trusting()))
    assert why(caught.value) == "Connection refused"


def test_a_handshake_that_never_ends_cannot_exceed_the_deadline() -> None:
    with deaf_port() as port, pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", f"https://localhost:{port}", trusting()), seconds=0.2)
    assert why(caught.value) == "it did not answer in time"


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://api.test", "api.test"), ("https://api.test:8443/v3/", "api.test:8443")],
)
def test_an_endpoint_is_shown_by_its_host(url: str, shown: str) -> None:
    assert str(HttpsEndpoint.parse("X_URL", url, trusting())) == shown


@pytest.mark.parametrize(
    ("url", "found"),
    [
        pytest.param("http://api.test/pw", "another beginning", id="not encrypted"),
        pytest.param("pw.test", "another beginning", id="no scheme"),
        pytest.param("https://", "no host name", id="no host"),
        pytest.param("https:///pw", "no host name", id="a path only"),
        pytest.param("https://pw\u00e4.test", "no host name", id="a host beyond ASCII"),
        pytest.param(f"https://{'pw' * 40}.test", "no host name", id="a host that no resolver takes"),
        pytest.param("https://p w.test", "no host name", id="a space in the host"),
        pytest.param("https://ana:pw@api.test", "a user", id="a user"),
        pytest.param("https://:pw@api.test", "a user", id="a password only"),
        pytest.param("https://@api.test", "a user", id="an empty user"),
        pytest.param("https://api.test/?a=pw", "a query or fragment", id="a query"),
        pytest.param("https://api.test/?", "a query or fragment", id="an empty query"),
        pytest.param("https://api.test/#pw", "a query or fragment", id="a fragment"),
        pytest.param("https://api.test/p w", "a path with other characters", id="a space"),
        pytest.param("https://api.test:pw", "an invalid host or port", id="no port"),
        pytest.param("https://[pw", "an invalid host or port", id="half an IPv6 address"),
    ],
)
def test_other_urls_are_refused_without_being_quoted(url: str, found: str) -> None:
    with pytest.raises(Misconfigured, match=f"X_URL: expected an https:// URL .* found {found}") as caught:
        HttpsEndpoint.parse("X_URL", url, trusting())
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"\xff", b"[]", b"1", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000], ids=len
)
def test_an_answer_that_is_no_json_object_counts_as_an_empty_one(body: bytes) -> None:
    assert Answer(200, {}, body).object() == {}

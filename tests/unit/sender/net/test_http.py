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


def test_request_arrives_and_its_answer_comes_back(https: HttpsServer) -> None:
    https.answer(202, {"X-Message-Id": "q1"}, b"done")
    answer = post(endpoint_at(https, "/api/"), b'{"a": 1}')
    assert (answer.status, answer.headers["x-message-id"], answer.body) == (202, "q1", b"done")
    [request] = https.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/mail", b'{"a": 1}')
    assert request.headers["x-a"] == "b"
    assert request.headers["content-length"] == "8"


@pytest.mark.parametrize("manner", ["drop", "silence", "drip", "nonsense"])
def test_whole_request_without_an_answer_has_no_response(https: HttpsServer, manner: str) -> None:
    https.misbehave(manner)
    start = time.monotonic()
    with pytest.raises(NoResponse):
        post(endpoint_at(https), seconds=0.3)
    assert time.monotonic() - start < 2
    assert len(https.requests) == 1


def test_body_that_breaks_off_does_not_take_the_status_back(https: HttpsServer) -> None:
    https.misbehave("half")
    answer = post(endpoint_at(https))
    assert (answer.status, answer.headers["x-message-id"]) == (202, "q1")


def test_body_without_end_does_not_take_the_status_back(https: HttpsServer) -> None:
    https.say(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: q1\r\n\r\n", b"x" * 65536)
    assert post(endpoint_at(https)) == Answer(202, {"x-message-id": "q1"}, b"")


def test_headers_without_end_are_no_response(https: HttpsServer) -> None:
    https.say(b"HTTP/1.1 202 Accepted\r\n", b"X-Slow: x\r\n" * 1000)
    with pytest.raises(NoResponse) as caught:
        post(endpoint_at(https))
    assert why(caught.value) == "its answer is not HTTP, or is incomplete"


def test_an_ipv6_address_is_named_as_urls_name_it() -> None:
    request = Request("GET", "2606:4700::1111", 8443, "/", {"host": "other"}).to_httpcore()
    assert [value for name, value in request.headers if name.lower() == b"host"] == [b"other"]
    request = Request("GET", "2606:4700::1111", 8443, "/", {}).to_httpcore()
    assert (b"Host", b"[2606:4700::1111]:8443") in request.headers


def test_answer_that_comes_before_the_request_was_read_is_heard(https: HttpsServer) -> None:
    https.misbehave("early")
    try:
        assert post(endpoint_at(https), b"x" * 8_000_000).status == 413
    except RequestNotSent:  # the system may throw the answer away with the connection; it is never taken for a success
        assert https.requests == []


def test_server_that_nobody_vouches_for_is_not_asked(https: HttpsServer) -> None:
    stranger = ssl.create_default_context(cadata=pem(trustme.CA()))
    with pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", https.url, stranger))
    assert why(caught.value).startswith("its certificate can't be trusted: ")
    assert https.requests == []


def test_name_on_the_certificate_must_be_the_hosts(https: HttpsServer) -> None:
    with pytest.raises(RequestNotSent, match=r"^$") as caught:
        post(HttpsEndpoint.parse("X_URL", https.url.replace("localhost", "127.0.0.1"), trusting()))
    assert "not valid for '127.0.0.1'" in why(caught.value)


def test_server_that_is_not_there_has_not_heard() -> None:
    with deaf_port() as port:
        pass
    with pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", f"https://localhost:{port}", trusting()))
    assert why(caught.value) == "Connection refused"


def test_handshake_that_never_ends_cannot_outlive_the_start() -> None:
    with deaf_port() as port, pytest.raises(RequestNotSent) as caught:
        post(HttpsEndpoint.parse("X_URL", f"https://localhost:{port}", trusting()), seconds=0.2)
    assert why(caught.value) == "it did not answer in time"


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://api.test", "api.test"), ("https://api.test:8443/v3/", "api.test:8443")],
)
def test_endpoint_shows_itself_by_its_host(url: str, shown: str) -> None:
    assert str(HttpsEndpoint.parse("X_URL", url, trusting())) == shown


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://api.test", id="not encrypted"),
        pytest.param("api.test", id="no scheme"),
        pytest.param("https://", id="no host"),
        pytest.param("https://ana:pw@api.test", id="a user"),
        pytest.param("https://api.test/?a=b", id="a query"),
        pytest.param("https://api.test/a b", id="a space"),
        pytest.param("https://api.test:port", id="no port"),
    ],
)
def test_other_urls_are_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"X_URL=.*expected an https:// URL") as caught:
        HttpsEndpoint.parse("X_URL", url, trusting())
    assert "pw" not in str(caught.value)

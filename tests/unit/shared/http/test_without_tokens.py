"""Without tokens, a service takes what Google's services and emulators send, and nothing that a web page can cause."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from shared.http.app import base_app

JSON, PROTOBUF = "application/json", "application/protobuf"


def status(headers: Mapping[str, str], body: bytes | None, path: str, *, fast: bool) -> int:
    """The status of a POST; `fast`: with a Content-Length, so that the fast path takes it if there is a body."""
    app = base_app("test", None, 100, lambda header, body: ("taken", 200))
    app.post("/other")(lambda: "taken")
    environ = EnvironBuilder(path, method="POST", headers=Headers({"Host": "127.0.0.1:1", **headers})).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    if body is not None:
        environ["wsgi.input"], environ["wsgi.input_terminated"] = BytesIO(body), True
        environ |= {"CONTENT_LENGTH": str(len(body))} if fast else {"HTTP_TRANSFER_ENCODING": "chunked"}
    _, line, _ = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return int(line.partition(" ")[0])


on_each_path = pytest.mark.parametrize(
    ("path", "fast"),
    [
        pytest.param("/", True, id="fast-path"),
        pytest.param("/", False, id="flask"),
        pytest.param("/other", True, id="another-path"),
    ],
)


@on_each_path
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({"Content-Type": PROTOBUF}, b"x", id="eventarc"),
        pytest.param({"Content-Type": JSON}, b"{}", id="push"),
        pytest.param({"Content-Type": "application/json; charset=utf-8"}, b"{}", id="with-a-charset"),
        pytest.param({"Content-Type": "Application/JSON"}, b"{}", id="in-capitals"),
        pytest.param({"Content-Type": "application/cloudevents+json"}, b"{}", id="structured-event"),
        pytest.param({}, None, id="the-scheduler-sends-no-body"),
        *(
            pytest.param({"Host": host, "Content-Type": JSON}, b"{}", id=host)
            for host in ("localhost", "LocalHost:8080", "127.0.0.1", "127.1.2.3:65535", "[::1]", "[::1]:8080")
        ),
    ],
)
def test_a_program_on_this_machine_may_call(headers: dict[str, str], body: bytes | None, path: str, fast: bool) -> None:
    assert status(headers, body, path, fast=fast) == 200


@on_each_path
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        *(
            pytest.param({"Origin": origin, "Content-Type": JSON}, b"{}", id=f"origin-{origin}")
            for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "")
        ),
        *(
            pytest.param({"Host": host, "Content-Type": JSON}, b"{}", id=f"host-{host}")
            for host in (
                "evil.example",
                "evil.example:8080",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "evil.example@127.0.0.1",
                "0.0.0.0",
                "192.168.0.1",
                "[::2]",
                "",
            )
        ),
        *(
            pytest.param({"Content-Type": content_type}, b"{}", id=content_type)
            for content_type in (
                "text/plain",
                "text/plain; application/json",
                "text/plain;charset=application/json",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/json, text/plain",
                "application/jsonx",
                "",
            )
        ),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, None, id="an-empty-form"),
        pytest.param({}, b"{}", id="a-body-without-a-type"),
    ],
)
def test_a_web_page_may_not(headers: dict[str, str], body: bytes | None, path: str, fast: bool) -> None:
    assert status(headers, body, path, fast=fast) == 403


def test_a_refusal_is_one_line_that_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    client = base_app("test", None, 100, lambda header, body: ("taken", 200)).test_client()
    answer = client.post("/", data="{}", content_type="text/plain", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.mimetype) == (403, "text/plain")
    assert answer.text == "Header Origin: expected none, because web pages may not call this service.\n"
    assert not any(record.exc_info for record in caplog.records)


def test_health_is_for_everybody() -> None:
    client = base_app("test", None, 100, lambda header, body: ("taken", 200)).test_client()
    assert client.get("/healthz", headers={"Host": "evil.example", "Origin": "https://evil.example"}).text == "ok\n"


def test_the_start_warns_that_callers_are_not_authenticated(caplog: pytest.LogCaptureFixture) -> None:
    base_app("test", None, 100, lambda header, body: ("taken", 200))
    [record] = caplog.records
    assert (record.levelname, "callers are not authenticated" in record.message) == ("WARNING", True)

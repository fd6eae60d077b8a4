"""The answers to `POST /`, by Flask and by the fast path: identical."""

from __future__ import annotations

from io import BytesIO

import pytest
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from shared.errors import Unavailable
from shared.http.app import base_app
from shared.http.auth import Unauthorized
from shared.http.fast_path import Header

LIMIT = 100


def ask(
    body: bytes, *, error: Exception | None = None, content_length: str | None = None, path: str = "/"
) -> tuple[str, int]:
    """Text and status; `content_length` is the header Content-Length, omitted if None."""

    def receive(header: Header, received: bytes) -> tuple[str, int]:
        if error is not None:
            raise error
        return f"{header('X-Who')} sent {received.decode()}", 200

    app = base_app("test", None, LIMIT, receive)
    headers = Headers({"X-Who": "Ada", "Content-Type": "application/json"})
    environ = EnvironBuilder(path, method="POST", headers=headers).get_environ()
    environ["wsgi.input"] = BytesIO(body)
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if content_length is not None:
        environ["CONTENT_LENGTH"] = content_length
    chunks, status, _ = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return b"".join(chunks).decode(), int(status.partition(" ")[0])


@pytest.mark.parametrize("content_length", [None, "5"])
def test_headers_and_body_reach_the_receiver(content_length: str | None) -> None:
    assert ask(b"hello", content_length=content_length) == ("Ada sent hello", 200)


@pytest.mark.parametrize("content_length", [None, "1"])
@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (Unauthorized("The request has no token."), 401, "no token"),
        (Unavailable("Firestore does not answer."), 503, "does not answer"),
        (BadRequest("Expected JSON."), 400, "Expected JSON."),
        (ZeroDivisionError("secret"), 500, "Internal error."),
    ],
)
def test_an_errors_status_decides_whether_the_caller_retries(
    content_length: str | None, error: Exception, status: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, answered = ask(b"x", error=error, content_length=content_length)
    assert answered == status
    assert text in answer
    assert "secret" not in answer
    assert any(record.exc_info for record in caplog.records) == (status == 500)


def test_an_incomplete_body_is_not_processed() -> None:
    assert ask(b"hel", content_length="5") == ("The body is incomplete.\n", 400)


@pytest.mark.parametrize("content_length", [None, "1"])
def test_a_callers_text_is_only_echoed_as_plain_text(content_length: str | None) -> None:
    def receive(header: Header, body: bytes) -> tuple[str, int]:
        raise BadRequest(f"found {body.decode()}")

    client = base_app("test", None, LIMIT, receive).test_client()
    answer = client.post(
        "/", input_stream=BytesIO(b"<"), content_length=content_length, content_type="application/json"
    )
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_a_body_beyond_the_limit_is_not_read() -> None:
    assert ask(b"x" * (LIMIT + 1), content_length=str(LIMIT + 1))[1] == 413


def test_other_paths_are_flasks() -> None:
    assert ask(b"x", content_length="1", path="/elsewhere")[1] == 404

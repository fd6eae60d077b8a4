"""What is answered to `POST /`, by Flask and by the fast path around it: the same."""

from __future__ import annotations

from io import BytesIO

import pytest
from werkzeug.exceptions import BadRequest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from shared.errors import InvalidEvent, Unavailable
from shared.http.app import base_app
from shared.http.auth import Unauthorized
from shared.http.fast_path import Header

LIMIT = 100


def ask(
    body: bytes, *, error: Exception | None = None, told_length: str | None = None, path: str = "/"
) -> tuple[str, int]:
    """Text and status; `told_length` is the header Content-Length, left out where it is None."""

    def receive(header: Header, received: bytes) -> tuple[str, int]:
        if error is not None:
            raise error
        return f"{header('X-Who')} sent {received.decode()}", 200

    app = base_app("test", None, LIMIT, receive)
    environ = EnvironBuilder(path, method="POST", headers=[("X-Who", "Ada")]).get_environ()
    environ["wsgi.input"] = BytesIO(body)
    environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if told_length is not None:
        environ["CONTENT_LENGTH"] = told_length
    chunks, status, _ = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return b"".join(chunks).decode(), int(status.partition(" ")[0])


@pytest.mark.parametrize("told_length", [None, "5"])
def test_headers_and_body_reach_the_receiver(told_length: str | None) -> None:
    assert ask(b"hello", told_length=told_length) == ("Ada sent hello", 200)


@pytest.mark.parametrize("told_length", [None, "1"])
@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (Unauthorized("The request bears no token."), 401, "no token"),
        (InvalidEvent("Body: expected an event."), 400, "expected an event"),
        (Unavailable("Firestore does not answer."), 503, "does not answer"),
        (BadRequest("Expected JSON."), 400, "Expected JSON."),
        (ZeroDivisionError("secret"), 500, "Internal error."),
    ],
)
def test_an_error_is_the_status_by_which_the_caller_repeats_or_not(
    told_length: str | None, error: Exception, status: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, answered = ask(b"x", error=error, told_length=told_length)
    assert answered == status
    assert text in answer
    assert "secret" not in answer
    assert any(record.exc_info for record in caplog.records) == (status == 500)


def test_a_body_that_breaks_off_is_not_worked_on() -> None:
    assert ask(b"hel", told_length="5") == ("The body broke off.\n", 400)


@pytest.mark.parametrize("told_length", [None, "1"])
def test_what_a_caller_has_sent_comes_back_as_plain_text_only(told_length: str | None) -> None:
    def receive(header: Header, body: bytes) -> tuple[str, int]:
        raise InvalidEvent(f"found {body.decode()}")

    client = base_app("test", None, LIMIT, receive).test_client()
    answer = client.post("/", input_stream=BytesIO(b"<"), content_length=told_length)
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_a_body_beyond_the_limit_is_not_read() -> None:
    assert ask(b"x" * (LIMIT + 1), told_length=str(LIMIT + 1))[1] == 413


def test_other_paths_are_flasks() -> None:
    assert ask(b"x", told_length="1", path="/elsewhere")[1] == 404

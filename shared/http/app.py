"""What the HTTP endpoints of both services share: authentication, answers, and a fast path for `POST /`.

A mail causes five `POST /` requests: four events of its document and one push. Flask's routing, contexts and response
objects cost several times as much as the server itself (docs/decisions/0013), so these requests are answered before
Flask. Flask handles everything else, including a `POST /` whose length is missing or over the limit. Both paths call
the same functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from shared.errors import Unavailable
from shared.http.auth import TokenVerifier, Unauthorized
from shared.observability import tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger("firepost.web")

_TEXT = [("Content-Type", "text/plain; charset=utf-8")]

#: Returns the value of a request's header.
Header = Callable[[str], str | None]
#: The handler of `POST /`: from headers and body to text and status.
Receive = Callable[[Header, bytes], tuple[str, int]]
#: Raises an exception if a request with these headers and this method is not allowed.
Admit = Callable[[Header, str], None]


def base_app(name: str, verifier: TokenVerifier | None, max_body_bytes: int, receive: Receive) -> Flask:
    """An app that answers `POST /` with `receive`, and `GET /healthz`, and lets only verified callers POST.

    `answer_to` translates exceptions into answers.
    """
    app = Flask(name)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    def admit(header: Header, method: str) -> None:
        tracing.enter(tracing.of_request(header))
        if verifier is not None and method == "POST":
            verifier.verify(header("Authorization"))

    app.before_request(lambda: admit(request.headers.get, request.method))

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return "ok\n", 200, _TEXT

    @app.post("/")
    def post() -> ResponseReturnValue:
        return *receive(request.headers.get, request.get_data()), _TEXT

    @app.errorhandler(Exception)
    def failed(error: Exception) -> ResponseReturnValue:
        return error if isinstance(error, HTTPException) else (*answer_to(error), _TEXT)

    app.wsgi_app = _FastPath(app.wsgi_app, admit, receive, max_body_bytes)  # type: ignore[method-assign]
    return app


def answer_to(error: Exception) -> tuple[str, int]:
    """The text and status for an error, which is logged.

    `Unavailable` becomes 503: the caller, Eventarc or Pub/Sub, retries. An unexpected error becomes 500 and is logged
    with its stack trace; the caller retries, so a bug loses nothing.
    """
    match error:
        case Unauthorized():
            _log.warning("refused: %s", error)
            return f"{error}\n", 401
        case Unavailable():
            _log.error("unavailable: %s", error)
            return f"{error}\n", 503
        case HTTPException():
            return f"{error.description}\n", error.code or 500
    _log.error("unforeseen error", exc_info=error)
    return "Internal error.\n", 500


class _FastPath:
    """WSGI middleware (PEP 3333) that answers `POST /` itself."""

    def __init__(self, app: WSGIApplication, admit: Admit, receive: Receive, max_body_bytes: int) -> None:
        self._app = app
        self._admit = admit
        self._receive = receive
        self._max_body_bytes = max_body_bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = _content_length(environ)
        if not (length and length <= self._max_body_bytes and _is_post(environ)):
            return self._app(environ, start_response)
        try:
            text, status = self._answer(environ, length)
        except Exception as error:
            text, status = answer_to(error)
        start_response(f"{status} {HTTPStatus(status).phrase}", _TEXT)
        return [text.encode()]

    def _answer(self, environ: WSGIEnvironment, length: int) -> tuple[str, int]:
        def header(name: str) -> str | None:
            value: str | None = environ.get("HTTP_" + name.upper().replace("-", "_"))
            return value

        self._admit(header, "POST")  # first, so that an unauthorized caller's body is never read
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            raise BadRequest("The body is incomplete.")
        return self._receive(header, body)


def _is_post(environ: WSGIEnvironment) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in ("", "/")


def _content_length(environ: WSGIEnvironment) -> int:
    """The content length; 0 if it is missing or not a number."""
    length = environ.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else 0

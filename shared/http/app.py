"""The common part of both services' HTTP apps: authentication, error responses, and the fast path for `POST /`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from shared.errors import Unavailable
from shared.http import without_tokens
from shared.http.auth import TokenVerifier, Unauthorized
from shared.http.fast_path import TEXT, FastPath, HandlePost, Header
from shared.observability import tracing

_log = logging.getLogger("firepost.web")

#: Says how a process is, in one line: what `GET /health` answers when all is well.
Health = Callable[[], str]


def base_app(
    name: str,
    verifier: TokenVerifier | None,
    max_body_bytes: int,
    handle_post: HandlePost,
    health: Health = lambda: "ok",
) -> Flask:
    """A Flask app that handles `POST /` with `handle_post`; POST requires a valid token. `GET /health` says `health`.

    Without a verifier, POST requires what `without_tokens` says instead, and a warning is logged. `answer_to`
    translates exceptions into responses.
    """
    if verifier is None:
        _log.warning("callers are not authenticated: OIDC_AUDIENCE is not set; requests of web pages are refused")
    app = Flask(name)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    def authenticate(header: Header, method: str) -> None:
        tracing.enter(tracing.of_request(header))
        if method != "POST":
            return
        if verifier is not None:
            verifier.verify(header("Authorization"))
        else:
            without_tokens.check(header)

    app.before_request(lambda: authenticate(request.headers.get, request.method))

    @app.get("/health")
    @app.get("/healthz")  # the name in versions up to 0.2.0; Cloud Run lets nobody reach it from outside
    def get_health() -> ResponseReturnValue:
        return f"{health()}\n", 200, TEXT

    @app.post("/")
    def post() -> ResponseReturnValue:
        return *handle_post(request.headers.get, request.get_data()), TEXT

    @app.errorhandler(Exception)
    def failed(error: Exception) -> ResponseReturnValue:
        return error if isinstance(error, HTTPException) else (*answer_to(error), TEXT)

    app.wsgi_app = FastPath(app.wsgi_app, authenticate, handle_post, answer_to, max_body_bytes)  # type: ignore[method-assign]
    return app


def answer_to(error: Exception) -> tuple[str, int]:
    """Log an error and return the text and status of the response.

    `Unavailable` becomes 503, so Eventarc or Pub/Sub retries. An unexpected error becomes 500 and is logged with its
    stack trace; the caller retries, so a bug loses nothing.
    """
    match error:
        case Unauthorized():
            _log.warning("refused: %s", error)
            return f"{error}\n", 401
        case without_tokens.Forbidden():
            _log.warning("refused: %s", error)
            return f"{error}\n", 403
        case Unavailable():
            _log.error("unavailable: %s", error)
            return f"{error}\n", 503
        case HTTPException():
            return f"{error.description}\n", error.code or 500
    _log.error("unforeseen error", exc_info=error)
    return "Internal error.\n", 500

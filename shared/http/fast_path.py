"""A WSGI fast path that handles `POST /` without Flask.

Each mail causes five requests to `POST /`: four events of its document and one push. Flask's routing, contexts and
response objects cost several times as much as the server itself (docs/decisions/0013). The fast path handles requests
with a known body length within the limit; Flask handles all others. Both call the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import BadRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: The headers of every response.
TEXT: Final = [("Content-Type", "text/plain; charset=utf-8")]

#: The headers that WSGI passes on without the prefix `HTTP_`.
_WITHOUT_PREFIX: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")

#: Returns the value of a request header, or None.
Header = Callable[[str], str | None]
#: Checks a request's headers and method, and raises an error if the caller is not authorised.
Authenticate = Callable[[Header, str], None]
#: Handles `POST /`: takes headers and body, returns the text and status of the response.
HandlePost = Callable[[Header, bytes], tuple[str, int]]
#: Turns an error into the text and status of the response.
AnswerTo = Callable[[Exception], tuple[str, int]]


class FastPath:
    """WSGI middleware (PEP 3333) that handles `POST /` itself."""

    def __init__(
        self,
        app: WSGIApplication,
        authenticate: Authenticate,
        handle_post: HandlePost,
        answer_to: AnswerTo,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._handle_post = handle_post
        self._answer_to = answer_to
        self._max_body_bytes = max_body_bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request (the WSGI interface)."""
        length = _content_length(environ)
        if not (length and length <= self._max_body_bytes and _is_post(environ)):
            return self._app(environ, start_response)
        try:
            text, status = self._answer(environ, length)
        except Exception as error:
            text, status = self._answer_to(error)
        start_response(f"{status} {HTTPStatus(status).phrase}", TEXT)
        return [text.encode()]

    def _answer(self, environ: WSGIEnvironment, length: int) -> tuple[str, int]:
        def header(name: str) -> str | None:
            key = name.upper().replace("-", "_")
            value: str | None = environ.get(key if key in _WITHOUT_PREFIX else f"HTTP_{key}")
            return value

        self._authenticate(header, "POST")  # first: the body of an unauthorised caller is not read
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            raise BadRequest("The body is incomplete.")
        return self._handle_post(header, body)


def _is_post(environ: WSGIEnvironment) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in ("", "/")


def _content_length(environ: WSGIEnvironment) -> int:
    """The Content-Length; 0 if missing or not a number."""
    length = environ.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else 0

"""`POST /`, answered before Flask.

A mail makes five requests `POST /`: four events of its document and one push. Flask's routing, contexts and response
objects cost several times what the server itself does (docs/decisions/0013). The fast path answers those whose body has
a known length within the limit, and leaves everything else to Flask. Both call the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import BadRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: The headers of every answer.
TEXT: Final = [("Content-Type", "text/plain; charset=utf-8")]

#: Gives the value of a request's header.
Header = Callable[[str], str | None]
#: Raises an error for a request, given its headers and method, that is not let in.
Admit = Callable[[Header, str], None]
#: Does the work of `POST /`: takes headers and body, returns text and status.
Receive = Callable[[Header, bytes], tuple[str, int]]
#: Turns an error into text and status.
AnswerTo = Callable[[Exception], tuple[str, int]]


class FastPath:
    """WSGI (PEP 3333) around an app, which answers `POST /` itself."""

    def __init__(
        self, app: WSGIApplication, admit: Admit, receive: Receive, answer_to: AnswerTo, max_body_bytes: int
    ) -> None:
        self._app = app
        self._admit = admit
        self._receive = receive
        self._answer_to = answer_to
        self._max_body_bytes = max_body_bytes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to a request."""
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
            value: str | None = environ.get("HTTP_" + name.upper().replace("-", "_"))
            return value

        self._admit(header, "POST")  # first: nobody's megabytes are read but a caller's who may send them
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            raise BadRequest("The body is incomplete.")
        return self._receive(header, body)


def _is_post(environ: WSGIEnvironment) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in ("", "/")


def _content_length(environ: WSGIEnvironment) -> int:
    """0 where it is not told or is no number."""
    told = environ.get("CONTENT_LENGTH") or ""
    return int(told) if told.isdecimal() else 0

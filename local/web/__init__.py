"""The stack's web pages, the console and the inbox, and their HTTP API (`openapi.yaml`).

mails, documents, queues, logs, faults, tokens     a page and its part of the API each
live.py                                            tells open pages what has changed
access.py, parameters.py                           who may write, and what a request asks for
values.py                                          Firestore's values as JSON
templates/, static/                                pages, one stylesheet, one script; nothing is built
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.serving import make_server

from local.documents import Documents
from local.inbox import Inbox
from local.ports import LOOPBACK
from local.queues import Queues
from local.switches import Switches
from local.web import access, logs
from local.web.document_api import DocumentApi
from local.web.documents import document_pages
from local.web.faults import fault_pages
from local.web.live import live_pages
from local.web.mails import mail_pages
from local.web.messages import MessageApi, ReleaseTo
from local.web.opened import OpenedMails
from local.web.parameters import MOST_WAITING
from local.web.queues import queue_pages
from local.web.tokens import TokenOf, token_pages

#: Our pages are small files and our own scripts; nothing is loaded from elsewhere.
_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
#: No request has a larger body: a document has 1 MiB at most, and JSON is wordier than Firestore.
MAX_BODY_BYTES = 8 * 1024 * 1024

#: How often the server checks whether to stop, in seconds.
STOP_POLL_SECONDS = 0.05

API_FILE = Path(__file__).with_name("openapi.yaml")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages show: the parts of a running stack.

    `logs` are files by the name of who writes them, `token` signs tokens for calls of a service. `release` sends a mail
    to real recipients; None means that none may leave this machine. `pause` says what is paused.
    """

    documents: Documents
    inbox: Inbox
    queues: Queues
    switches: Switches
    logs: Mapping[str, Path]
    token: TokenOf
    release: ReleaseTo | None = None
    pause: Callable[[], str] = lambda: ""


def create_app(parts: Parts, stopping: threading.Event) -> Flask:
    """The inbox at `/`, the console at `/console`, the API below `/api`. `stopping` ends what has no end of its own."""
    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = [LOOPBACK, "localhost"]  # against DNS rebinding by other sites' pages
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(lambda: {"paused": parts.pause()})
    app.add_template_filter(_bytes, "bytes")
    app.add_template_filter(_time, "time")
    store, places = parts.inbox.store, threading.BoundedSemaphore(MOST_WAITING)
    opened = OpenedMails(store)
    versions = {
        "documents": lambda: parts.documents.version,
        "mails": lambda: store.version,
        "queues": parts.queues.version,
        "logs": lambda: logs.version(parts.logs),
        "pause": parts.pause,
        "faults": lambda: (parts.switches.version, sum(parts.switches.counts.values())),
    }
    for pages in (
        mail_pages(opened, parts.documents, parts.release is not None),
        MessageApi(opened, parts.release, places).routes(),
        document_pages(parts.documents, store),
        DocumentApi(parts.documents, places).routes(),
        queue_pages(parts.queues, parts.documents),
        logs.log_pages(parts.logs),
        fault_pages(parts.switches),
        token_pages(parts.token),
        live_pages(versions, stopping),
    ):
        app.register_blueprint(pages)
    app.register_error_handler(SecurityError, _refuse_host)
    app.register_error_handler(HTTPException, _explain)
    app.register_error_handler(GoogleAPICallError, _explain_google)

    @app.get("/api/openapi.yaml")
    def describe() -> ResponseReturnValue:
        return Response(API_FILE.read_text(encoding="utf-8"), mimetype="application/yaml")

    @app.before_request
    def check() -> None:
        access.check(request)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


def _refuse_host(error: SecurityError) -> ResponseReturnValue:
    """Without a page, whose links would be those of another site."""
    return Response("Header Host: expected 127.0.0.1 or localhost.\n", 400, mimetype="text/plain")


def _explain(error: HTTPException) -> ResponseReturnValue:
    return _failed(error.code or 500, error.description or error.name)


def _explain_google(error: GoogleAPICallError) -> ResponseReturnValue:
    return _failed(409 if isinstance(error, FailedPrecondition) else error.code or 503, error.message)


def _failed(status: int, sentence: str) -> ResponseReturnValue:
    """The answer for programs, or the page for people."""
    if request.path.startswith("/api/"):
        return {"error": sentence}, status
    return render_template("error.html", status=status, sentence=sentence), status


def _bytes(number: int) -> str:
    """A number of bytes, for people."""
    if number < 1024:
        return f"{number} bytes"
    return f"{number / 1024:.1f} KB" if number < 1024**2 else f"{number / 1024**2:.1f} MB"


def _time(moment: datetime) -> str:
    """A time as HTML's `datetime` has it."""
    return moment.isoformat()


class WebServer:
    """Serves an app in threads; `url` has no trailing slash."""

    def __init__(self, app: Flask, listener: socket.socket, stopping: threading.Event) -> None:
        """`listener` is the socket to serve on, which gets closed; `stopping` is set when the server stops."""
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line per request
        self._stopping = stopping
        port: int = listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{port}"
        self._server = make_server(LOOPBACK, port, app, threaded=True, fd=listener.fileno())
        listener.close()  # the server has a copy
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name="web", daemon=True
        )

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and free the port."""
        self._stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

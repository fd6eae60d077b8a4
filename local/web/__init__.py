"""The stack's two web pages, the inbox and the console, and their JSON."""

from __future__ import annotations

import logging
import threading

from flask import Flask, Response
from werkzeug.serving import make_server

from local.inbox import Inbox
from local.ports import LOOPBACK
from local.web.console import Documents, TokenOf, console_pages
from local.web.mails import inbox_pages

#: Our pages are small files and our own scripts; nothing is loaded from elsewhere.
_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

#: How often the server checks whether to stop, in seconds.
STOP_POLL_SECONDS = 0.05


def create_app(inbox: Inbox, documents: Documents, token: TokenOf) -> Flask:
    """The inbox at `/`, the console at `/console`; `token` signs tokens for calls of a service."""
    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = [LOOPBACK, "localhost"]  # against DNS rebinding by other sites' pages
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.register_blueprint(inbox_pages(inbox))
    app.register_blueprint(console_pages(documents, token))

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


class WebServer:
    """Serves an app on a free port of this machine, in threads."""

    def __init__(self, app: Flask) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line per request
        self._server = make_server(LOOPBACK, 0, app, threaded=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name="web", daemon=True
        )

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

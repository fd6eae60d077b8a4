"""What both services' HTTP front doors share: who may call, how errors answer, and the server itself."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from flask import Flask, request
from flask.typing import ResponseReturnValue
from gunicorn.app.base import BaseApplication
from werkzeug.exceptions import HTTPException

from shared import logs, trace
from shared.auth import TokenVerifier, Unauthorized
from shared.errors import Misconfigured, Unavailable
from shared.settings import ServiceSettings

_log = logging.getLogger("firepost.web")

#: Cloud Run kills a container ten seconds after SIGTERM.
GRACE_SECONDS = 9

#: Linux's file system in memory: gunicorn wants a small file for each worker, and the root may be read-only.
_MEMORY = "/dev/shm"  # noqa: S108  # gunicorn makes the names unguessable

#: The exit code of a process whose settings are wrong.
EXIT_MISCONFIGURED = 2


def create_app(name: str, verifier: TokenVerifier | None, max_body_bytes: int) -> Flask:
    """An app that answers `GET /healthz`, lets only verified callers POST, and turns our errors into statuses.

    `Unavailable` is 503: the caller, Eventarc or Pub/Sub, repeats. Anything unforeseen is 500 and logged with its
    stack, which also makes the caller repeat: nothing is lost to a bug.
    """
    app = Flask(name)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return "ok\n", 200, {"Content-Type": "text/plain"}

    @app.before_request
    def enter_trace() -> None:
        trace.enter(trace.of_request(request.headers.get))

    @app.before_request
    def verify_caller() -> None:
        if verifier is not None and request.method == "POST":
            verifier.verify(request.headers.get("Authorization"))

    @app.errorhandler(Unauthorized)
    def unauthorized(error: Unauthorized) -> ResponseReturnValue:
        _log.warning("refused: %s", error)
        return f"{error}\n", 401

    @app.errorhandler(Unavailable)
    def unavailable(error: Unavailable) -> ResponseReturnValue:
        _log.error("unavailable: %s", error)
        return f"{error}\n", 503

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> ResponseReturnValue:
        if isinstance(error, HTTPException):
            return error
        _log.exception("unforeseen error")
        return "Internal error.\n", 500

    return app


@dataclass(frozen=True, slots=True)
class Service:
    """An app, what is to be done at SIGTERM so that its requests under way end soon, and what when they have ended."""

    app: Flask
    drain: Callable[[], None] | None = None
    close: Callable[[], None] | None = None


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn is not typed
    """Gunicorn without its command line: processes, threads in each, the app built after the fork.

    gRPC clients must not live across a fork, so nothing connects before `build` runs in the worker.
    """

    def __init__(self, name: str, project: str, build: Callable[[], Service], options: dict[str, object]) -> None:
        self._name = name
        self._project = project
        self._build = build
        self._options = options
        self._service: Service | None = None
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in self._options.items():
            self.cfg.set(name, value)
        self.cfg.set("worker_exit", self._end)

    def load(self) -> Flask:
        """Called by gunicorn, in the worker."""
        logs.configure(self._name, self._project)
        self._service = service = self._build()
        if service.drain is not None:
            _at_sigterm(service.drain)
        return service.app

    def _end(self, arbiter: object, worker: object) -> None:
        """Called by gunicorn in a worker that has ended its work; and then in its parent, which has no service."""
        if self._service is not None and self._service.close is not None:
            self._service.close()


def _at_sigterm(drain: Callable[[], None]) -> None:
    """Call `drain` too when gunicorn is told to end; on a thread, for a signal handler must not wait for locks."""
    graceful = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=drain, name="drain").start()
        if callable(graceful):
            graceful(number, frame)

    signal.signal(signal.SIGTERM, handle)


def serve(name: str, build: Callable[[], Service], settings: ServiceSettings) -> None:
    """Serve until SIGTERM; requests under way then have nearly all the time to end that Cloud Run gives.

    `name` is the service's in the logs.
    """
    workers = settings.web_workers
    options = {
        "bind": f"0.0.0.0:{settings.port}",
        "workers": workers,
        "worker_class": "gthread",
        "threads": math.ceil(settings.threads / workers),
        "timeout": 0,  # Cloud Run has its own; gunicorn's would kill a worker in the middle of a mail
        "graceful_timeout": GRACE_SECONDS,
        "keepalive": 75,
        "loglevel": "warning",
        "control_socket_disable": True,
        "worker_tmp_dir": _MEMORY if os.access(_MEMORY, os.W_OK) else None,
    }
    _Server(name, settings.google_cloud_project, build, options).run()


def start(main: Callable[[], None]) -> None:
    """Run a service's `main`; a wrong setting ends it with one line instead of a traceback."""
    try:
        main()
    except Misconfigured as error:
        print(f"Firepost can't start: {str(error).rstrip('.')}.", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_MISCONFIGURED)

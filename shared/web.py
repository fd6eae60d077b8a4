"""What both services' HTTP front doors share: who may call, how errors answer, and the server itself."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.util import Finalize

from flask import Flask, request
from flask.typing import ResponseReturnValue
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from werkzeug.exceptions import HTTPException

from shared import logs, trace
from shared.auth import TokenVerifier, Unauthorized
from shared.errors import Misconfigured, Unavailable
from shared.settings import ServiceSettings

_log = logging.getLogger("firepost.web")

#: Cloud Run kills a container ten seconds after SIGTERM.
GRACE_SECONDS = 9

#: How long a connection may be kept without a request.
_IDLE_SECONDS = 75

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


class _Worker:
    """A process that serves. gRPC clients must not live across a fork, so that nothing connects before it is called."""

    def __init__(self, name: str, project: str, build: Callable[[], Service]) -> None:
        self._name = name
        self._project = project
        self._build = build

    def __call__(self) -> Flask:
        """Called by the server in the new process."""
        logs.configure(self._name, self._project)
        service = self._build()
        if service.drain is not None:
            _at_signal(service.drain)
        if service.close is not None:  # atexit's functions are not called in a forked process
            Finalize(None, service.close, exitpriority=0)
        return service.app


def _at_signal(drain: Callable[[], None]) -> None:
    """Call `drain` when the process is told to end, while the server lets the requests under way end.

    The server has its own signal handlers, and sets them after the app is built. The descriptor that Python writes
    every signal's number to (`signal.set_wakeup_fd`) is told as well.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)

    def wait() -> None:
        os.read(told, 1)
        drain()

    threading.Thread(target=wait, name="drain", daemon=True).start()


def _check_free(port: int) -> None:
    """The server shares its port among its processes, and would share it with a stranger's without a word."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended are no hindrance
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise Misconfigured(f"PORT={port} can't be listened on: {error.strerror}") from error


def serve(name: str, build: Callable[[], Service], settings: ServiceSettings) -> None:
    """Serve until SIGTERM; requests under way then have nearly all the time to end that Cloud Run gives.

    `name` is the service's in the logs. A process that dies ends the others, too, so that the container is replaced.
    Raises `Misconfigured` if the port is taken.
    """
    _check_free(settings.port)
    logs.configure(name, settings.google_cloud_project)
    workers = settings.web_workers
    multiprocessing.set_start_method("fork", force=True)  # spawned, each would import everything once more
    server = Granian(
        name,
        address="0.0.0.0",
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=math.ceil(settings.threads / workers),
        workers_kill_timeout=GRACE_SECONDS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_IDLE_SECONDS * 1000),
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {}},  # its words go where ours go
    )
    server.serve(target_loader=_Worker(name, settings.google_cloud_project, build), wrap_loader=False)


def start(main: Callable[[], None]) -> None:
    """Run a service's `main`; a wrong setting ends it with one line instead of a traceback."""
    try:
        main()
    except Misconfigured as error:
        print(f"Firepost can't start: {str(error).rstrip('.')}.", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_MISCONFIGURED)

"""The HTTP server that both services run in, from its start to the orderly end at SIGTERM."""

from __future__ import annotations

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

from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from shared.errors import Misconfigured
from shared.observability import logs
from shared.settings import ServiceSettings

#: Cloud Run kills a container ten seconds after SIGTERM.
GRACE_SECONDS = 9

#: How long a connection may be kept without a request.
_IDLE_SECONDS = 75

#: The exit code of a process whose settings are wrong.
EXIT_MISCONFIGURED = 2


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
        """Called by the server in the new process, which has inherited the signal handlers of the one that started it.

        Those would swallow a SIGTERM that comes while the app is being built: the process would begin to serve, and be
        killed at the end of the grace period. Nothing is under way yet, so it may simply die.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
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

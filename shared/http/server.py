"""The HTTP server that both services use, from startup to the graceful shutdown at SIGTERM."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import socket
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

#: Seconds for which an idle connection is kept open.
_IDLE_SECONDS = 75


@dataclass(frozen=True, slots=True)
class Service:
    """An app plus two shutdown hooks: `drain` on SIGTERM, `close` once in-flight requests have finished."""

    app: Flask
    drain: Callable[[], None] | None = None
    close: Callable[[], None] | None = None


class _Worker:
    """A process that serves. gRPC clients don't survive a fork, so none connects before this is called."""

    def __init__(self, name: str, project: str, build: Callable[[], Service]) -> None:
        self._name = name
        self._project = project
        self._build = build

    def __call__(self) -> Flask:
        """Called by the server in the new process, which has inherited the parent's signal handlers.

        Those would swallow a SIGTERM that arrives while the app is being built: the process would start to serve, and
        be killed at the end of the grace period. Nothing is in flight yet, so it may simply die.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        logs.configure(self._name, self._project)
        service = self._build()
        if service.drain is not None:
            _at_signal(service.drain)
        if service.close is not None:  # atexit functions don't run in a forked process
            Finalize(None, service.close, exitpriority=0)
        return service.app


def _at_signal(drain: Callable[[], None]) -> None:
    """Call `drain` on SIGTERM, while the server finishes the requests in flight.

    The server installs its own signal handlers after the app is built. Python also writes each signal's number to a
    file descriptor (`signal.set_wakeup_fd`), which works beside them.
    """
    receiver, trigger = os.pipe()
    os.set_blocking(trigger, False)
    signal.set_wakeup_fd(trigger)

    def wait() -> None:
        os.read(receiver, 1)
        drain()

    threading.Thread(target=wait, name="drain", daemon=True).start()


def _check_free(address: str, port: int) -> None:
    """The server shares its port among its processes, and would silently share it with another program."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT don't matter
        try:
            probe.bind((address, port))
        except OSError as error:
            raise cannot_listen(address, port, error) from error


def cannot_listen(address: str, port: int, error: OSError) -> Misconfigured:
    """The error for settings that name an address and port on which the process can't listen."""
    return Misconfigured(f"PORT={port} can't be listened on: {error.strerror} (LISTEN_ADDRESS is {address})")


def serve(name: str, build: Callable[[], Service], settings: ServiceSettings) -> None:
    """Serve until SIGTERM; requests in flight then have nearly all of Cloud Run's grace period to finish.

    `name` is the service's name in the logs. A worker process that dies ends the others, too, so that the container is
    replaced. Raises `Misconfigured` if it can't listen on the address and port.
    """
    _check_free(settings.address, settings.port)
    logs.configure(name, settings.google_cloud_project)
    workers = settings.web_workers
    multiprocessing.set_start_method("fork", force=True)  # spawned processes would import everything again
    server = Granian(
        name,
        address=settings.address,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=math.ceil(settings.threads / workers),
        workers_kill_timeout=GRACE_SECONDS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_IDLE_SECONDS * 1000),
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {}},  # its logs go where ours go
    )
    server.serve(target_loader=_Worker(name, settings.google_cloud_project, build), wrap_loader=False)

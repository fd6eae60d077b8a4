"""The ports of the embedded servers, which a process of its own listens at: see `relay.py`."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from local.backends.embedded import relay
from local.errors import CannotStart
from local.ports import LOOPBACK

#: Connections that may wait while the process starts.
_WAITING = 128
#: Seconds that the process may take to end by itself.
_STOP_SECONDS = 5.0


class Front:
    """Listens at ports and passes gRPC on; `on_failure` gets a text, from another thread, if that ends unexpectedly."""

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._doors: list[tuple[socket.socket, Path, str]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @property
    def process_id(self) -> int:
        """The id of the process. Only after `start`."""
        if self._process is None:
            raise RuntimeError("The front is not started.")
        return self._process.pid

    def open(self, port: int, target: Path, name: str) -> int:
        """Listen at a port, 0 for any, for the server at the Unix socket `target`; returns the port.

        Clients that connect before `start` wait. Raises `CannotStart` if the port is taken.
        """
        try:
            listener = socket.create_server((LOOPBACK, port), backlog=_WAITING)
        except OSError as error:
            raise CannotStart(f"Port {port} for {name} can't be used: {error.strerror}.") from error
        self._doors.append((listener, target, name))
        bound: int = listener.getsockname()[1]
        return bound

    def start(self) -> None:
        """Begin to pass on what arrives at the ports."""
        doors = [(str(listener.fileno()), str(target), name) for listener, target, name in self._doors]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", relay.__file__, *(text for door in doors for text in door)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno() for listener, _, _ in self._doors],
            start_new_session=True,
        )
        self._close_listeners()
        threading.Thread(target=self._watch, args=(self._process,), name="embedded-front", daemon=True).start()

    def stop(self) -> None:
        """Close the ports and all connections; safe to call twice, and before `start`."""
        self._stopping.set()
        self._close_listeners()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _close_listeners(self) -> None:
        for listener, _, _ in self._doors:
            listener.close()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        if not self._stopping.is_set():
            self._on_failure(f"The process that listens for Firestore and Pub/Sub died (exit status {status}).")

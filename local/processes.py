"""Child processes, each in a process group of its own, none of which outlives the stack."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local import watchdog
from local.errors import PartFailed
from local.waiting import wait_until

logger = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 10.0
#: Seconds within which a process's threads must stop after a signal.
PAUSE_SECONDS = 30.0
#: Seconds in which the kernel ends what was killed.
END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. Both output streams are appended to the file `log`; `environment` None means our own."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] | None = None
    directory: Path | None = None


class Process(Protocol):
    """What is needed of a `subprocess.Popen`; its `pid` is that of its process group, too."""

    @property
    def pid(self) -> int:
        """The number of the process."""

    def wait(self) -> int:
        """Return its exit status, once it has ended; for a signal, the signal's number, negative."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""


def spawn(command: Command) -> Process:
    """Start `command` in a session of its own. Raises `OSError`."""
    with command.log.open("ab") as log:
        return subprocess.Popen(
            command.arguments,
            env=command.environment,
            cwd=command.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class Family:
    """All child processes of one owner."""

    def __init__(self) -> None:
        self._watchdog = _Watchdog()
        self._children: list[Child] = []

    def start(self, command: Command, on_exit: Callable[[int], None]) -> Child:
        """Start `command`; if it ends unexpectedly, `on_exit` gets its exit status, in another thread.

        Raises `PartFailed` if the program can't be executed.
        """
        child = Child(command, self._watchdog, on_exit)
        self._children.append(child)
        child.start()
        return child

    def stop(self) -> None:
        """Terminate all processes, by force if necessary, and return when the last has ended."""
        for child in reversed(self._children):
            child.ask_to_end()
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        self._watchdog.close()


class Child:
    """One process with its descendants. Created by `Family.start`.

    It is started in a separate thread: signal handlers only run in the main thread, so a Ctrl-C can't fall between the
    process's start and the moment at which it is registered for cleanup. If a Ctrl-C comes before that thread runs, the
    process is not started at all.
    """

    def __init__(self, command: Command, guard: _Watchdog, on_exit: Callable[[int], None]) -> None:
        self.command = command
        self._guard = guard
        self._on_exit = on_exit
        self._starting = threading.Lock()
        self._stop_requested = threading.Event()
        self._process: Future[Process] = Future()
        self._life = threading.Thread(target=self._live, name=f"child-{command.name}", daemon=True)

    def start(self) -> None:
        """See `Family.start`."""
        self._life.start()
        try:
            self._process.result()
        except OSError as error:
            raise PartFailed(f"{self.command.name}: can't run {self.command.arguments[0]}: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether the process or a descendant is still running."""
        return self._life.is_alive()

    @property
    def group(self) -> int:
        """The process group of the process and its descendants. Only after `start`."""
        return self._process.result().pid

    def send(self, number: int) -> None:
        """Send a signal to the process and its descendants, if any are left."""
        if self._is_started() and self._life.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.group, number)

    def pause(self) -> None:
        """Freeze the process and its descendants, and return when all of their threads have stopped.

        The kernel delivers a signal when it chooses: on a busy machine, a thread may continue for a while. Where there
        is no /proc to check (macOS), sending the signal has to suffice.
        """
        self.send(signal.SIGSTOP)
        if Path("/proc/self/task").exists() and not wait_until(self._is_frozen, PAUSE_SECONDS, pause=0.001):
            raise PartFailed(f"{self.command.name}: not all of its threads have stopped")

    def _is_frozen(self) -> bool:
        return all(state in "TZX" for state in _thread_states(self.group))

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process only, as Cloud Run does; its children are its own responsibility at first."""
        with self._starting:
            self._stop_requested.set()
        self.send(signal.SIGCONT)  # a paused process can't handle SIGTERM
        if self._is_started():
            self._process.result().send_signal(signal.SIGTERM)

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End it within `grace` seconds, gracefully if possible. Returns when nothing of it is left."""
        self.ask_to_end()
        if self._life.ident is not None:
            self._life.join(grace)
            self.send(signal.SIGKILL)
            self._life.join()

    def kill(self) -> None:
        """Kill it and its descendants at once, as a machine crash would, and wait until they are gone."""
        self.send(signal.SIGKILL)
        self._life.join()

    def _is_started(self) -> bool:
        return self._process.done() and self._process.exception() is None

    def _live(self) -> None:
        with self._starting:
            try:
                if self._stop_requested.is_set():
                    raise InterruptedError("it is not wanted any more")
                process = spawn(self.command)
            except OSError as error:
                self._process.set_exception(error)
                return
            self._guard.watch(process.pid)
            self._process.set_result(process)
        status = process.wait()
        with contextlib.suppress(ProcessLookupError):  # workers that outlive their parent would keep its port
            os.killpg(process.pid, signal.SIGKILL)
            wait_until(lambda: all(state in "ZX" for state in _thread_states(process.pid)), END_SECONDS, pause=0.001)
        self._guard.forget(process.pid)
        if not self._stop_requested.is_set():
            self._on_exit(status)


class _Watchdog:
    """Our end of the pipe to `local/watchdog.py`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        with self._lock:
            if pipe is None or pipe.closed:
                return
            try:
                pipe.write(line.encode())
                pipe.flush()
            except BrokenPipeError:
                logger.warning("The watchdog has died: if this process is killed, its child processes keep running.")

    def close(self) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()


def _thread_states(group: int) -> Iterator[str]:
    """One letter per thread of the process group, from /proc: T is stopped, Z and X have ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):  # the process has ended meanwhile
            if os.getpgid(int(process.name)) != group:
                continue
            for stat in process.glob("task/*/stat"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
                    yield stat.read_text().rpartition(")")[2].split()[0]


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log file, for display; empty if the file does not exist."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])

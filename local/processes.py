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

from local import watchdog
from local.errors import PartFailed
from local.waiting import wait_until

logger = logging.getLogger(__name__)

STOP_GRACE_SECONDS = 10.0
#: Seconds within which the threads of a process stop when they are told to.
PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. Both output streams go to the end of the file `log`; `environment` None means ours."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] | None = None
    directory: Path | None = None


class Family:
    """All child processes of one owner."""

    def __init__(self) -> None:
        self._watchdog = _Watchdog()
        self._children: list[Child] = []

    def start(self, command: Command, on_exit: Callable[[int], None]) -> Child:
        """Start `command`; `on_exit` gets its exit status, in a thread, if it ends without having been asked to.

        Raises `PartFailed` when the program can't be executed.
        """
        child = Child(command, self._watchdog, on_exit)
        self._children.append(child)
        child.start()
        return child

    def stop(self) -> None:
        """Ask all to end, make them if they don't, and return when the last has."""
        for child in reversed(self._children):
            child.ask_to_end()
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        self._watchdog.close()


class Child:
    """One process with its descendants. Made by `Family.start`.

    It is born in a thread of its own: signal handlers only run in the main thread, so a Ctrl-C can't fall between
    the process's birth and the moment from which on somebody knows that it must be ended.
    """

    def __init__(self, command: Command, guard: _Watchdog, on_exit: Callable[[int], None]) -> None:
        self.command = command
        self._guard = guard
        self._on_exit = on_exit
        self._unwanted = threading.Event()
        self._process: Future[subprocess.Popen[bytes]] = Future()
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
        """Whether the process or one that it started still runs."""
        return self._life.is_alive()

    @property
    def group(self) -> int:
        """The process group that the process and its descendants are in. Only after `start`."""
        return self._process.result().pid

    def send(self, number: int) -> None:
        """Send a signal to the process and its descendants; to nobody when they are gone."""
        if self._life.is_alive() and not self._process.exception():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.result().pid, number)

    def pause(self) -> None:
        """Freeze the process and its descendants, and return when none of their threads can do anything more.

        A signal takes effect at a time of the kernel's choice: on a busy machine, a thread may go on for a while after
        it was sent. Where there is no /proc to look at (macOS), sending it has to do.
        """
        self.send(signal.SIGSTOP)
        if Path("/proc/self/task").exists() and not wait_until(self._is_frozen, PAUSE_SECONDS, pause=0.001):
            raise PartFailed(f"{self.command.name}: not all of its threads have stopped")

    def _is_frozen(self) -> bool:
        return all(state in "TZX" for state in _thread_states(self.group))

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process alone, as Cloud Run does; what it started is its business, for now."""
        self._unwanted.set()
        self.send(signal.SIGCONT)  # who was paused could not hear
        if self._life.is_alive() and not self._process.exception():
            self._process.result().send_signal(signal.SIGTERM)

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End it within `grace` seconds, gracefully if it can. Returns when nothing of it is left."""
        self.ask_to_end()
        if self._life.ident is not None:
            self._life.join(grace)
            self.send(signal.SIGKILL)
            self._life.join()

    def kill(self) -> None:
        """End it and its descendants at once, as a crash of the machine would, and wait for that."""
        self.send(signal.SIGKILL)
        self._life.join()

    def _live(self) -> None:
        try:
            process = self._spawn()
        except OSError as error:
            self._process.set_exception(error)
            return
        self._guard.watch(process.pid)
        self._process.set_result(process)
        status = process.wait()
        with contextlib.suppress(ProcessLookupError):  # workers that outlived their parent would keep its port
            os.killpg(process.pid, signal.SIGKILL)
        self._guard.forget(process.pid)
        if not self._unwanted.is_set():
            self._on_exit(status)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.command.log.open("ab") as log:
            return subprocess.Popen(
                self.command.arguments,
                env=self.command.environment,
                cwd=self.command.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class _Watchdog:
    """Our end of the line to `local/watchdog.py`."""

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
                logger.warning("The watchdog has died: if this process is killed, its children stay behind.")

    def close(self) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()


def _thread_states(group: int) -> Iterator[str]:
    """One letter per thread of the process group, as /proc has it: T is stopped, Z and X have ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):  # a process that has ended meanwhile
            if os.getpgid(int(process.name)) != group:
                continue
            for stat in process.glob("task/*/stat"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
                    yield stat.read_text().rpartition(")")[2].split()[0]


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log file, to be shown to people; nothing when it does not exist."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])

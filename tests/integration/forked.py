"""Services that are forked from one process, which has imported them already.

Most of a start is importing, and these tests start services hundreds of times. What is forked runs the same program,
with an environment, a session and a log of its own. Services start as a user starts them where a test runs
`python -m local`, as `test_local_stack` does, or a service's own command, as `test_images` and `test_pull` do.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import runpy
import sys
import threading
from multiprocessing.connection import Connection, wait

from local.processes import Command, Process, spawn

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    [
        __name__,
        "dispatcher.bootstrap",
        "dispatcher.settings",
        "sender.bootstrap",
        "sender.entrypoints.pull",
        "sender.settings",
        "shared.http.server",
        "shared.observability.tracing",
    ]
)


def fork(command: Command) -> Process:
    """As `local.processes.spawn`, but what runs a Python module is forked."""
    return _Forked(command) if command.arguments[:2] == (sys.executable, "-m") else spawn(command)


class _Forked:
    #: Only one thread at a time may ask whether a process has ended, and `multiprocessing` asks at each start.
    _asking = threading.Lock()

    def __init__(self, command: Command) -> None:
        begun, in_child = _FORKSERVER.Pipe(duplex=False)
        with begun, in_child, self._asking:
            self._process = _FORKSERVER.Process(target=_run, args=(command, in_child))
            self._process.start()
            in_child.close()
            self.pid: int = begun.recv()

    def wait(self) -> int:
        wait([self._process.sentinel])
        with self._asking:
            return self._process.exitcode or 0

    def send_signal(self, number: int, /) -> None:
        with self._asking:
            if self._process.exitcode is None:
                os.kill(self.pid, number)


def _run(command: Command, begun: Connection) -> None:
    """In the child: become the program."""
    os.setsid()
    begun.send(os.getpid())
    begun.close()
    with command.log.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            assert isinstance(stream, io.TextIOWrapper)
            os.dup2(log.fileno(), stream.fileno())
            stream.reconfigure(line_buffering=True)
    if command.environment is not None:
        os.environ.clear()
        os.environ.update(command.environment)
    if command.directory is not None:
        os.chdir(command.directory)
    _, _, module, *sys.argv[1:] = command.arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)

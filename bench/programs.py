"""Programs that run beside the services: the mail servers and the pusher."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import postfix
from bench.ledger import Ledger
from local.errors import PartFailed
from local.ports import LOOPBACK, accepts, free_port
from local.processes import Child, Command, Family, last_lines
from local.services import ROOT
from local.waiting import wait_until

_START_SECONDS = 30.0


class Programs:
    """Starts programs in `family`, with their logs in a directory; calls `on_failure` if one dies."""

    def __init__(self, family: Family, logs: Path, on_failure: Callable[[str], None]) -> None:
        self._family = family
        self._logs = logs
        self._on_failure = on_failure

    def start(self, name: str, arguments: Sequence[str], port: int | None = None) -> Child:
        """Return when it accepts connections on the port, if one is given. Raises `PartFailed` if it does not."""
        command = Command(name, tuple(arguments), self._logs / f"{name}.log", directory=ROOT)
        child = self._family.start(command, self._reporter(command))
        if port is not None:
            address = f"{LOOPBACK}:{port}"
            if not wait_until(lambda: accepts(address) or not child.alive, _START_SECONDS) or not child.alive:
                raise PartFailed(f"The {name} did not start:\n{last_lines(command.log)}")
        return child

    def start_module(self, name: str, arguments: Sequence[str], port: int | None = None) -> Child:
        """The same for `python -m`."""
        return self.start(name, (sys.executable, "-m", *arguments), port)

    def start_sink(self, delay_ms: int = 0) -> tuple[int, Ledger]:
        """Start our mail server, with some latency; returns its port and its ledger."""
        port, control_port = free_port(), free_port()
        arguments = ("bench.sink", str(port), str(control_port), f"--delay-ms={delay_ms}")
        self.start_module("sink", arguments, control_port)
        return port, Ledger(control_port)

    def start_smtp_sink(self, program: Path) -> int:
        """Start Postfix's mail server; returns its port."""
        port = free_port()
        self.start("smtp-sink", postfix.sink_arguments(program, port), port)
        return port

    def _reporter(self, command: Command) -> Callable[[int], None]:
        def report(status: int) -> None:
            self._on_failure(f"The {command.name} ended with status {status}:\n{last_lines(command.log)}")

        return report

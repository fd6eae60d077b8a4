"""The two services, run as in production."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import requests

from local.errors import PartFailed
from local.options import DEFAULT_SETTINGS, StackOptions
from local.ports import LOOPBACK
from local.processes import Child, Command, Family, last_lines
from local.waiting import wait_until

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
#: The sender's subscription types: the commands of `python -m sender`.
SUBSCRIPTION_TYPES = ("push", "pull")

START_SECONDS = 60.0
#: Deaths within `CRASH_LOOP_SECONDS` that make a crash loop.
CRASH_LOOP_DEATHS = 4
CRASH_LOOP_SECONDS = 20.0
#: The variables of the user's environment that the services inherit. No others: USER and HOST, which every shell sets,
#: are settings of Trigger Email.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "VIRTUAL_ENV")


def environment(options: StackOptions, *, firestore: str, pubsub: str, smtp_uri: str, port: int) -> dict[str, str]:
    """A service's environment variables, on top of the inherited ones."""
    return {
        **DEFAULT_SETTINGS,
        **options.settings,
        "PORT": str(port),
        "GOOGLE_CLOUD_PROJECT": options.project,
        "FIRESTORE_EMULATOR_HOST": firestore,
        "PUBSUB_EMULATOR_HOST": pubsub,
        "SMTP_CONNECTION_URI": smtp_uri,
    }


def service_command(name: str, subscription_type: str, log: Path, variables: Mapping[str, str]) -> Command:
    """The command for service `name`: `dispatcher`, `sender` or one such as `sender-bulk`.

    `subscription_type` is one of `SUBSCRIPTION_TYPES`.
    """
    module = (name,) if name == "dispatcher" else ("sender", subscription_type)
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return Command(
        name=name,
        arguments=(sys.executable, "-m", *module),
        log=log,
        environment={**inherited, "PYTHONUNBUFFERED": "1", **variables},
        directory=ROOT,
    )


def is_crash_loop(deaths: Sequence[float], now: float) -> bool:
    """Whether too many of `deaths` (times in seconds) lie in the last `CRASH_LOOP_SECONDS` before `now`."""
    return sum(now - death < CRASH_LOOP_SECONDS for death in deaths) >= CRASH_LOOP_DEATHS


class Service:
    """One service: started, watched, and restarted on the same port when it dies, as by Cloud Run.

    In a crash loop, `on_failure` gets a text about it, in any thread.
    """

    def __init__(
        self, command: Command, port: int, family: Family, *, supervise: bool, on_failure: Callable[[str], None]
    ) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self._command = command
        self._family = family
        self._supervise = supervise
        self._on_failure = on_failure
        self._change = threading.Lock()
        self._child: Child | None = None
        self._wanted = False
        self._was_ready = False
        self._deaths: list[float] = []

    @property
    def name(self) -> str:
        """The name, as in `service_command`."""
        return self._command.name

    @property
    def group(self) -> int | None:
        """The process group of the service and its workers; None before the start."""
        return self._child.group if self._child is not None else None

    def launch(self) -> None:
        """Start the process without waiting for it to answer. Raises `PartFailed` if it can't be executed."""
        with self._change:
            self._wanted = True
            self._child = self._family.start(self._command, self._died)

    def await_ready(self) -> None:
        """Return when it answers its health check. Raises `PartFailed` with its last output if it doesn't."""
        if not wait_until(lambda: not self._alive() or self._healthy(), START_SECONDS):
            raise PartFailed(f"The {self.name} did not answer within {START_SECONDS:.0f} s:\n{self._last_words()}")
        if not self._alive():
            raise PartFailed(f"The {self.name} did not start:\n{self._last_words()}")
        self._was_ready = True

    def start(self) -> None:
        """`launch` and `await_ready`."""
        self.launch()
        self.await_ready()

    def restart(self, changes: Mapping[str, str]) -> None:
        """`stop`, and `start` with these environment variables changed, for good."""
        self.stop()
        self._command = replace(self._command, environment={**(self._command.environment or {}), **changes})
        self.start()

    def stop(self) -> None:
        """Stop it gracefully, and don't restart it."""
        with self._change:
            self._wanted = False
            if self._child is not None:
                self._child.stop()

    def kill(self) -> None:
        """Kill it and its workers with SIGKILL, and wait until they are gone."""
        if self._child is not None:
            self._child.kill()

    def pause(self) -> None:
        """Freeze it and its workers; when this returns, they are stopped."""
        if self._child is not None:
            self._child.pause()

    def resume(self) -> None:
        """Resume it and its workers, if they were paused."""
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Resume it if paused, start it if not running, and return when it answers."""
        self.resume()
        if not self._alive():
            self.launch()
        self.await_ready()

    def _died(self, status: int) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        if not (self._supervise and self._was_ready):
            return
        if is_crash_loop(self._deaths, now):
            self._on_failure(f"The {self.name} dies repeatedly (exit status {status}):\n{self._last_words()}")
            return
        with self._change:
            if self._wanted:
                logger.warning("The %s died (exit status %d); restarting it.", self.name, status)
                self._child = self._family.start(self._command, self._died)

    def _alive(self) -> bool:
        return self._child is not None and self._child.alive

    def _healthy(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=1).ok
        except requests.RequestException:
            return False

    def _last_words(self) -> str:
        return last_lines(self._command.log)

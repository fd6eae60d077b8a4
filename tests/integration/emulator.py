"""Google's Firestore emulator on its own, as somebody else runs it: without a receiver of events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from local.backends.google import find_launchers
from local.ports import LOOPBACK, free_port
from local.processes import Command, Family
from local.waiting import wait_until

#: Seconds; the emulator's first answers are slow.
TIMEOUT = 60


@contextmanager
def firestore_emulator(log: Path) -> Iterator[str]:
    """The address of a running emulator."""
    launcher, _ = find_launchers()
    address = f"{LOOPBACK}:{(port := free_port())}"
    family = Family()
    try:
        arguments = (str(launcher), "start", f"--host={LOOPBACK}", f"--port={port}")
        family.start(Command("Firestore", arguments, log), lambda status: None)
        assert wait_until(lambda: _answers(address), TIMEOUT), log.read_text()
        yield address
    finally:
        family.stop()


def set_rules(address: str, project: str, rules: str) -> None:
    """Give a project security rules, as `firebase emulators:start` does with those of firebase.json."""
    answer = requests.put(
        f"http://{address}/emulator/v1/projects/{project}:securityRules",
        json={"rules": {"files": [{"content": rules}]}},
        timeout=TIMEOUT,
    )
    assert answer.ok, answer.text


def _answers(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/", timeout=1).ok
    except requests.RequestException:
        return False

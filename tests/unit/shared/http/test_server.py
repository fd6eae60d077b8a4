"""The server of the HTTP endpoints."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.settings import DispatcherSettings
from local.ports import free_port
from local.waiting import wait_until
from shared.errors import Misconfigured
from shared.http import server
from shared.http.server import GRACE_SECONDS, Service
from tests.patience import patience

ROOT = Path(__file__).resolve().parents[4]


def never() -> Service:
    raise AssertionError("nothing may be built")


def settings(monkeypatch: pytest.MonkeyPatch, **variables: object) -> DispatcherSettings:
    """The settings of a dispatcher that uses emulators."""
    for name in ("FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.setenv(name, "x")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return DispatcherSettings()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_taken_port_prevents_the_start(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        chosen = settings(monkeypatch, PORT=port, LISTEN_ADDRESS=address)
        with pytest.raises(Misconfigured, match=f"PORT={port} can't be listened on: Address already in use"):
            server.serve("dispatcher", never, chosen)


def test_an_address_of_another_machine_prevents_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(monkeypatch, PORT=free_port(), LISTEN_ADDRESS="192.0.2.1")
    with pytest.raises(Misconfigured, match=r"Cannot assign requested address \(LISTEN_ADDRESS is 192\.0\.2\.1\)"):
        server.serve("dispatcher", never, chosen)


#: Serves with an app that never finishes building.
BUILDING = """
import pathlib, sys, threading
from dispatcher.settings import DispatcherSettings
from shared.http import server

def build():
    pathlib.Path(sys.argv[1]).touch()
    threading.Event().wait()

server.serve("dispatcher", build, DispatcherSettings())
"""


def test_sigterm_during_start_up_ends_the_process_at_once(tmp_path: Path) -> None:
    building = tmp_path / "building"
    variables = {"FIRESTORE_EMULATOR_HOST": "x", "PUBSUB_EMULATOR_HOST": "x", "GOOGLE_CLOUD_PROJECT": "x"}
    command = [sys.executable, "-c", BUILDING, str(building)]
    with subprocess.Popen(command, cwd=ROOT, env=variables | {"PORT": str(free_port())}) as process:
        assert wait_until(building.exists, patience(10))
        process.send_signal(signal.SIGTERM)
        process.wait(patience(GRACE_SECONDS / 2))

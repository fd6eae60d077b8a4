"""The HTTP front doors' server."""

from __future__ import annotations

import socket

import pytest

from dispatcher.settings import DispatcherSettings
from shared import web
from shared.errors import Misconfigured
from shared.web import Service


def never() -> Service:
    raise AssertionError("nothing may be built")


def test_a_port_that_another_program_listens_on_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
            monkeypatch.setenv(name, "x")
        monkeypatch.setenv("PORT", str(port))
        with pytest.raises(Misconfigured, match=f"PORT={port} can't be listened on: Address already in use"):
            web.serve("dispatcher", never, DispatcherSettings())

from __future__ import annotations

import socket
from typing import cast

import pytest

from sender.transport.smtp.socket import SmtpSocket
from tests.unit.sender.transport.builders import soon


class FakeSocket:
    """A socket with a given peer address."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def getpeername(self) -> tuple[str, int]:
        return (self._peer, 25)


@pytest.mark.parametrize(
    ("peer", "exposed"),
    [("127.0.0.1", False), ("127.1.2.3", False), ("::1", False), ("203.0.113.7", True), ("fe80::1%eth0", True)],
)
def test_plaintext_is_exposed_unless_it_stays_on_this_machine(peer: str, exposed: bool) -> None:
    wire = SmtpSocket("client.test", soon())
    wire.sock = cast(socket.socket, FakeSocket(peer))
    assert wire.exposed is exposed
    wire.sock = None

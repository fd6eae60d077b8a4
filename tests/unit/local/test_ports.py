from __future__ import annotations

import socket

import pytest

from local.errors import CannotStart
from local.ports import LOOPBACK, claim_port


def test_a_taken_port_is_refused_with_the_option_that_asked_for_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"Port {port} \(--firestore-port\) can't be used"):
            claim_port(port, "--firestore-port")
    assert claim_port(port, "--firestore-port") == port


def test_zero_is_any_free_port() -> None:
    port = claim_port(0, "--pubsub-port")
    with socket.create_server((LOOPBACK, port)):
        assert port > 0

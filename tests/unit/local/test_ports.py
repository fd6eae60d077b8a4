from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from local.errors import CannotStart
from local.ports import LOOPBACK, claim_port, free_port, listening


def test_a_taken_port_is_refused_with_the_option_that_asked_for_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"Port {port} \(--firestore-port\) is in use\."):
            claim_port(port, "--firestore-port")
        with pytest.raises(CannotStart, match=rf"Port {port} \(--smtp-port\) is in use\."):
            listening(port, 1, "--smtp-port")
    assert claim_port(port, "--firestore-port") == port


def test_zero_is_any_free_port() -> None:
    port = claim_port(0, "--pubsub-port")
    with socket.create_server((LOOPBACK, port)):
        assert port > 0
    with listening(0, 1, "--smtp-port") as listener:
        assert listener.getsockname()[1] > 1


def test_no_outgoing_connection_takes_a_free_port_before_its_service_does() -> None:
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(outgoing.read_text().split()[0]) if outgoing.exists() else 49152
    assert 1024 < free_port() < lowest


def test_processes_with_the_same_random_numbers_get_different_ports() -> None:
    ports = set()
    for _ in range(5):
        random.seed(1)
        ports.add(free_port())
    assert len(ports) > 1


def test_the_usual_port_is_taken_or_one_of_the_next() -> None:
    usual = free_port()
    with listening(None, usual, "--console-port") as first, listening(None, usual, "--console-port") as second:
        assert first.getsockname() == (LOOPBACK, usual)
        assert usual < second.getsockname()[1] < usual + 100


def test_a_listening_socket_takes_connections() -> None:
    with listening(0, 1, "") as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, address = listener.accept()
        accepted.close()
        assert address == client.getsockname()

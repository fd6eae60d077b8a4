from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sender.net.receive import receive
from shared.deadline import Deadline
from tests.unit.sender.transport.builders import soon, trusting

PASSED = Deadline(0.0, lambda: 1.0)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["plain", "TLS"])
def pair(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> Iterator[Pair]:
    """A client's socket and its server's."""
    client, server = socket.socketpair()
    if request.param == "TLS":
        with ThreadPoolExecutor() as pool:
            accepting = pool.submit(server_tls.wrap_socket, server, server_side=True)
            client = trusting().wrap_socket(client, server_hostname="localhost")
            server = accepting.result()
    with client, server:
        yield client, server


def test_it_waits_until_something_arrives(pair: Pair) -> None:
    client, server = pair
    with ThreadPoolExecutor() as pool:
        received = pool.submit(receive, client, 100, soon())
        server.sendall(b"250 OK\r\n")
        assert received.result() == b"250 OK\r\n"


def test_what_arrived_before_the_deadline_is_not_missed_by_a_process_that_was_frozen_beyond_it(pair: Pair) -> None:
    client, server = pair
    server.sendall(b"250 OK\r\n")
    assert receive(client, 100, PASSED) == b"250 OK\r\n"


def test_after_the_deadline_it_waits_for_nothing(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(TimeoutError):
        receive(client, 100, PASSED)
    with pytest.raises(TimeoutError):
        receive(client, 100, soon(0.01))


def test_the_end_of_the_stream_is_empty(pair: Pair) -> None:
    client, server = pair
    server.shutdown(socket.SHUT_WR)
    assert receive(client, 100, PASSED) == b""

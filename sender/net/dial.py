"""Opens TCP connections within a deadline."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Sequence

from shared.deadline import Deadline


def dial(host: str, port: int, until: Deadline, seconds_per_address: float) -> socket.socket:
    """Connect to the first address of the host that answers; raises `OSError`, and `TimeoutError` after `until`."""
    return connect(resolve(host, port, until), port, until, seconds_per_address)


def connect(addresses: Sequence[str], port: int, until: Deadline, seconds_per_address: float) -> socket.socket:
    """Connect to the first of these IP addresses that answers; raises the last error if none does."""
    failure: OSError = OSError("the name has no address")
    for address in addresses:
        try:
            limit = until.within(seconds_per_address)
            sock = socket.create_connection((address, port), timeout=seconds_left(limit))
        except OSError as error:
            failure = error
        else:
            # Requests are small and await an answer; Nagle's algorithm would delay them.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure


def resolve(host: str, port: int, until: Deadline) -> list[str]:
    """The host's IP addresses, in the system resolver's order of preference (RFC 6724).

    The resolver has no time limit, so it runs on a thread that is abandoned after `until`. Raises `OSError` if the name
    does not resolve, `TimeoutError` after `until`.
    """
    answer: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put([str(address[0]) for *_, address in found])
        except OSError as error:
            answer.put(error)

    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    try:
        addresses = answer.get(timeout=seconds_left(until))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(addresses, OSError):
        raise addresses
    return addresses


def seconds_left(until: Deadline) -> float:
    """The timeout for a socket's next call, in seconds; raises `TimeoutError` if the deadline has passed."""
    seconds = until.remaining()
    if seconds <= 0:
        raise TimeoutError
    return seconds

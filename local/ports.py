"""TCP ports of this machine."""

from __future__ import annotations

import errno
import random
import socket

from local.errors import CannotStart

LOOPBACK = "127.0.0.1"

#: How many ports are tried, after the usual one or at random.
TRIED_PORTS = 100


#: Ports that no system gives to outgoing connections: Linux begins at 32768, others at 49152. One of those could take
#: the port of a service before it starts, or while it restarts.
SERVICE_PORTS = range(16384, 32768)


def free_port() -> int:
    """A port that was free a moment ago. Raises `CannotStart` if all that were tried are taken."""
    for port in random.SystemRandom().sample(SERVICE_PORTS, TRIED_PORTS):  # tests seed the usual random numbers
        try:
            _listening(port).close()
        except OSError:
            continue
        return port
    raise CannotStart(f"No port from {SERVICE_PORTS.start} to {SERVICE_PORTS.stop - 1} seems to be free.")


def claim_port(wanted: int, option: str) -> int:
    """`wanted`, or any free port if it is 0. Raises `CannotStart`, naming `option`, if the port is taken."""
    if wanted == 0:
        return free_port()
    listening_at(wanted, option).close()
    return wanted


def listening_at(port: int, option: str) -> socket.socket:
    """A socket that listens at this port, 0 for any free one. Raises `CannotStart`, naming `option`."""
    try:
        return _listening(port)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be used: {error.strerror}"
        raise CannotStart(f"Port {port} ({option}) {why}.") from error


def listening(wanted: int | None, usual: int, option: str) -> socket.socket:
    """A socket that listens at `wanted`, 0 for any free port, or (None) at the usual one or one of the next.

    Raises `CannotStart`, naming `option`, if what is wanted is taken.
    """
    return _listening_near(usual, option) if wanted is None else listening_at(wanted, option)


def _listening_near(usual: int, option: str) -> socket.socket:
    for port in range(usual, usual + TRIED_PORTS):
        try:
            return _listening(port)
        except OSError:
            continue
    raise CannotStart(f"No port from {usual} to {usual + TRIED_PORTS - 1} is free; choose one with {option}.")


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def accepts(address: str) -> bool:
    """Whether a server accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False

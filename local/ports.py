"""TCP ports of this machine."""

from __future__ import annotations

import socket

from local.errors import CannotStart

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def claim_port(wanted: int, option: str) -> int:
    """`wanted`, or any free port if it is 0. Raises `CannotStart`, naming `option`, if the port is taken."""
    if wanted == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise CannotStart(f"Port {wanted} ({option}) can't be used: {error.strerror}.") from error
    return wanted


def accepts(address: str) -> bool:
    """Whether a server accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False

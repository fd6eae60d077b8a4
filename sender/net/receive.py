"""Reads from sockets within a deadline."""

from __future__ import annotations

import socket
import ssl

from shared.deadline import Deadline


def receive(sock: socket.socket, max_bytes: int, until: Deadline) -> bytes:
    """The next bytes, at most `max_bytes`; empty at the end of the stream.

    After `until` it returns what has already arrived: a process that was frozen must not miss the answer that came
    meanwhile, or the fate of its mail is unknown. Raises `TimeoutError` if nothing has, and other `OSError`s.
    """
    sock.settimeout(max(0.0, until.remaining()))
    try:
        return sock.recv(max_bytes)
    except (BlockingIOError, ssl.SSLWantReadError):  # possibly TLS records without content
        raise TimeoutError from None

"""The SMTP transport: mail over kept-open connections, at most so many at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sender.transport.classify import ConnectionLost
from sender.transport.connection import SmtpConnection
from sender.transport.envelope import Deadline, Envelope, Receipt
from sender.transport.pool import IdleConnections, KeepOpen
from sender.transport.server import SmtpServer
from shared.errors import ErrorCode, NotSent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """How the connections to the server are used.

    `data_margin` is the time in seconds that must be left of an attempt for DATA to start: a server that has the
    whole mail is given at least that long to answer, before the outcome counts as unknown.
    """

    max_connections: int = 10
    data_margin: float = 10.0
    keep_open: KeepOpen = field(default_factory=KeepOpen)


class SmtpTransport:
    """A `Transport` to one server. Connects with the first mail, not before; safe to use from several threads."""

    def __init__(self, server: SmtpServer, limits: SmtpLimits | None = None) -> None:
        """Limits that the server's URI gives (`maxConnections`, `maxMessages`) go where they are lower."""
        limits = limits or SmtpLimits()
        keep_open = limits.keep_open
        if server.max_mails is not None:
            keep_open = replace(keep_open, max_mails=min(server.max_mails, keep_open.max_mails))
        self._server = server
        self._data_margin = limits.data_margin
        self._idle = IdleConnections(keep_open)
        self._free = threading.Semaphore(min(limits.max_connections, server.max_connections or limits.max_connections))
        self._has_warned = False

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        """Hand over one mail, as `Transport` says.

        A kept-open connection that turns out to be dead before the mail was given to it is replaced once.
        """
        with self._turn(deadline):
            kept = self._idle.take(deadline.clock())
            if kept is not None:
                try:
                    return self._send_over(kept, envelope, data, deadline)
                except ConnectionLost:
                    _log.info("replaced a dead connection", extra={"fields": {"server": str(self._server)}})
            return self._send_over(self._connect(deadline), envelope, data, deadline)

    def close(self) -> None:
        """Say goodbye on the kept-open connections; those in use follow when their mail is done."""
        self._idle.close()

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """Wait until one of the connections is free."""
        patience = deadline.brought_forward(self._data_margin).remaining()
        if not self._free.acquire(timeout=max(0, patience)):
            text = f"All connections to the mail server {self._server} were busy until the attempt's time ran out."
            raise NotSent(ErrorCode.TEMPORARY, text)
        try:
            yield
        finally:
            self._free.release()

    def _connect(self, deadline: Deadline) -> SmtpConnection:
        connection = SmtpConnection(self._server, deadline.brought_forward(self._data_margin))
        if connection.password_was_visible and not self._has_warned:
            self._has_warned = True
            _log.warning("the password was sent without TLS", extra={"fields": {"server": str(self._server)}})
        return connection

    def _send_over(self, connection: SmtpConnection, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        try:
            return connection.send(envelope, data, deadline, self._data_margin)
        finally:
            self._idle.put(connection, deadline.clock())

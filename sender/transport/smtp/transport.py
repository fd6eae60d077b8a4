"""The SMTP transport: sends mail over a limited number of connections, which are kept open."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace

from sender.transport.breaker import Breaker, BreakerRules
from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from sender.transport.oauth import AccessTokens
from sender.transport.rate_limit import Rate
from sender.transport.smtp.config import SmtpServer
from sender.transport.smtp.connection import Progress, SmtpConnection, no_progress
from sender.transport.smtp.pool import IdleConnections, KeepOpen
from sender.transport.smtp.replies import ConnectionSpent, LoginRefused
from shared.deadline import Deadline
from shared.errors import Deferred, ErrorCode, NotSent, Outage
from shared.observability.events import Event, log_event, millis

_log = logging.getLogger(__name__)

#: The longest, in seconds, that a claimed mail waits for the rate limit before it is deferred.
LONGEST_WAIT = 2.0


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """How the connections to the server are used.

    `data_margin` is the number of seconds that must be left of an attempt to start DATA, so that the server has at
    least that long to accept the mail before the outcome counts as unknown. `turn_seconds` is the longest that a
    claimed mail waits for a free connection before it is deferred.
    """

    max_connections: int = 10
    turn_seconds: float = 6.0
    mails_per_second: float | None = None
    data_margin: float = 10.0
    keep_open: KeepOpen = field(default_factory=KeepOpen)
    breaker: BreakerRules = field(default_factory=BreakerRules)


def open_connection(
    server: SmtpServer, tokens: AccessTokens | None, deadline: Deadline, progress: Progress = no_progress
) -> SmtpConnection:
    """Open a session and log in. A refused access token is replaced once, as it may have been revoked.

    Raises `NotSent`.
    """
    if tokens is None:
        return SmtpConnection(server, deadline, progress=progress)
    token = tokens.get(deadline)
    try:
        return SmtpConnection(server, deadline, token, progress)
    except LoginRefused:
        return SmtpConnection(server, deadline, tokens.get(deadline, refused=token), progress)


class SmtpTransport:
    """A `Transport` to one server. It connects with the first mail. Thread-safe."""

    def __init__(
        self, server: SmtpServer, limits: SmtpLimits | None = None, tokens: AccessTokens | None = None
    ) -> None:
        """The lower value applies if the server's URI also sets a limit (`maxConnections`, `maxMessages`).

        With `tokens`, the login uses XOAUTH2.
        """
        limits = limits or SmtpLimits()
        keep_open = limits.keep_open
        if server.max_mails is not None:
            keep_open = replace(keep_open, max_mails=min(server.max_mails, keep_open.max_mails))
        self._server = server
        self._tokens = tokens
        self._data_margin = limits.data_margin
        self._turn_seconds = limits.turn_seconds
        self._idle = IdleConnections(keep_open)
        self._breaker = Breaker(str(server), limits.breaker)
        self._rate = Rate(limits.mails_per_second) if limits.mails_per_second else None
        self._turns = threading.Condition()
        self._free = min(limits.max_connections, server.max_connections or limits.max_connections)
        self._closing = threading.Event()
        self._has_warned = False

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`.

        An idle connection that turns out to be dead, or accepts no more mails, is replaced once, provided that no
        content was sent over it.
        """
        with self._breaker.passage(deadline.clock):
            self._wait_for_rate(deadline)
            self._take_turn(deadline)
            try:
                return self._send_in_turn(envelope, data, deadline, begin)
            finally:
                self._end_turn()

    def close(self) -> None:
        """Close idle connections; those in use are closed after their mail.

        Mails that still wait for a connection are deferred.
        """
        self._closing.set()
        with self._turns:
            self._turns.notify_all()
        self._idle.close()

    def _wait_for_rate(self, deadline: Deadline) -> None:
        """Wait for the rate limit; raises `Deferred` if that takes too long."""
        if self._rate is None:
            return
        patience = min(LONGEST_WAIT, max(0.0, deadline.start_by(self._data_margin).remaining()))
        seconds = self._rate.wait(deadline.clock(), patience)
        if seconds > patience:
            raise Deferred(seconds, "SMTP_RATE_PER_SECOND is used up.")
        if seconds and self._closing.wait(seconds):
            raise _shutting_down()

    def _take_turn(self, deadline: Deadline) -> None:
        """Wait for a free connection; raises `Deferred` if that takes too long."""
        with self._turns:
            if self._free == 0:
                left = max(0.0, deadline.start_by(self._data_margin).remaining())
                timeout = min(self._turn_seconds, left)
                self._turns.wait_for(lambda: self._free > 0 or self._closing.is_set(), timeout)
            if self._closing.is_set():
                raise _shutting_down()
            if self._free == 0:
                raise Deferred(self._turn_seconds, f"All connections to the mail server {self._server} are busy.")
            self._free -= 1

    def _end_turn(self) -> None:
        with self._turns:
            self._free += 1
            self._turns.notify()

    def _send_in_turn(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin) -> Receipt:
        kept = self._idle.take(deadline.clock())
        try:
            return self._send_over(kept or self._connect(deadline, replaced=False), envelope, data, deadline, begin)
        except ConnectionSpent:
            if kept is None or deadline.start_by(self._data_margin).remaining() <= 0:
                raise  # without time left, it was slow rather than dead
        # `begin` has succeeded: over the spent connection, no content was sent.
        return self._send_over(self._connect(deadline, replaced=True), envelope, data, deadline, at_once)

    def _connect(self, deadline: Deadline, replaced: bool) -> SmtpConnection:
        """A new session. Raises `Outage`, unless it was the attempt that had no time left for it."""
        began, start_by = deadline.clock(), deadline.start_by(self._data_margin)
        try:
            connection = open_connection(self._server, self._tokens, start_by)
        except NotSent as failure:
            if failure.code is ErrorCode.TEMPORARY and start_by.remaining() <= 0:
                raise
            raise Outage.of(failure) from failure
        fields = {
            "server": str(self._server),
            "duration_ms": millis(deadline.clock() - began),
            "replaced": replaced,
        }
        text = "replaced a dead connection" if replaced else "connected"
        log_event(_log, Event.CONNECTION, text, fields)
        if connection.password_was_visible and not self._has_warned:
            self._has_warned = True
            _log.warning("the password was sent without TLS", extra={"fields": {"server": str(self._server)}})
        return connection

    def _send_over(
        self, connection: SmtpConnection, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin
    ) -> Receipt:
        try:
            begin()
            return connection.send(envelope, data, deadline, self._data_margin)
        finally:
            self._idle.put(connection, deadline.clock())


def _shutting_down() -> Deferred:
    return Deferred(None, "This sender is shutting down.")

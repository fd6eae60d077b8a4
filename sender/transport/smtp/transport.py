"""The SMTP transport: sends mail over a limited number of connections, which are kept open."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace

from sender.transport.breaker import Breaker, BreakerRules
from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from sender.transport.oauth import AccessTokens
from sender.transport.smtp.config import SmtpServer
from sender.transport.smtp.connection import Progress, SmtpConnection, no_progress
from sender.transport.smtp.connection_limit import ConnectionLimit
from sender.transport.smtp.pool import IdleConnections, KeepOpen
from sender.transport.smtp.replies import ConnectionSpent, LoginRefused
from shared.deadline import Deadline
from shared.errors import Deferred, ErrorCode, NotSent, Outage, ShuttingDown
from shared.observability.events import Event, log_event, millis

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """How the connections to the server are used.

    `data_margin` is the number of seconds that must be left of an attempt to start DATA, so that the server has at
    least that long to accept the mail before the outcome counts as unknown. `turn_seconds` is the longest that a
    claimed mail waits for a free connection before it is deferred.
    """

    max_connections: int = 40
    turn_seconds: float = 6.0
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


class _NoSession(Outage):
    """The server opens no session, or no further one."""


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
        self._turns = threading.Condition()
        self._most = min(limits.max_connections, server.max_connections or limits.max_connections)
        self._limit = ConnectionLimit(self._most)
        self._in_use = 0
        self._in_session = 0
        self._closing = threading.Event()
        self._has_warned = False

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`.

        An idle connection that turns out to be dead, or accepts no more mails, is replaced once, provided that no
        content was sent over it.
        """
        with self._breaker.passage(deadline.clock):
            return self._send_when_free(envelope, data, deadline, begin)

    @property
    def most(self) -> int:
        """See `Transport.most`."""
        return self._most

    def capacity(self, waiting: int) -> int:
        """See `Transport.capacity`."""
        return self._limit.value

    def close(self) -> None:
        """Close idle connections; those in use are closed after their mail.

        Mails that still wait for a connection are deferred.
        """
        self._closing.set()
        with self._turns:
            self._turns.notify_all()
        self._idle.close()

    def _send_when_free(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin) -> Receipt:
        """Send over a connection of those that the limit allows.

        If the server takes no more connections than are open, the limit falls, and the mail waits for one of these.
        """
        wait_until = deadline.start_by(self._data_margin).within(self._turn_seconds)
        while True:
            self._take_turn(wait_until)
            began = deadline.clock()
            try:
                receipt = self._send_in_turn(envelope, data, deadline, begin)
                self._may_grow(deadline.clock())
                return receipt
            except NotSent as failure:
                if not self._is_turned_away(failure, began, deadline.clock()):
                    raise (Outage.of(failure) if failure.crowded else failure) from None
            finally:
                self._end_turn()

    def _take_turn(self, until: Deadline) -> None:
        """Wait until a connection may be used; raises `Deferred` if that takes too long."""
        with self._turns:
            if not self._is_free():
                timeout = max(0.0, until.remaining())
                self._turns.wait_for(lambda: self._is_free() or self._closing.is_set(), timeout)
            if self._closing.is_set():
                raise ShuttingDown()
            if not self._is_free():
                raise Deferred(self._turn_seconds, f"All connections to the mail server {self._server} are busy.")
            self._in_use += 1

    def _is_free(self) -> bool:
        return self._in_use < self._limit.value

    def _end_turn(self) -> None:
        with self._turns:
            self._in_use -= 1
            self._turns.notify()

    def _may_grow(self, now: float) -> None:
        """The server has taken a mail, or opened a session: perhaps it takes more at a time."""
        with self._turns:
            if self._limit.accepted(now, self._in_use, self._open()):
                self._turns.notify()

    def _is_turned_away(self, failure: NotSent, began: float, now: float) -> bool:
        """Whether the mail may go over another connection, since the server only objects to how many there are.

        Lowers the limit if the server wants less.
        """
        with self._turns:
            before, are_open = self._limit.value, self._open()
            is_throttled = failure.code is ErrorCode.THROTTLED
            # A server that hangs up may be out, unless it has other sessions.
            is_surplus = isinstance(failure, _NoSession) and (
                (is_throttled and self._in_use > 1) or (failure.code is ErrorCode.CONNECTION and are_open > 0)
            )
            if is_surplus:
                self._limit.refused(now, are_open, with_words=is_throttled)
            elif is_throttled:
                self._limit.throttled(began, now)
            elif isinstance(failure, _NoSession):
                self._limit.forget()
            after = self._limit.value
        if after < before and (is_surplus or is_throttled):
            fields = {"server": str(self._server), "reason": failure.code, "connections": after}
            log_event(_log, Event.CONNECTION_LIMIT, f"at most {after} connections from now on", fields)
        return is_surplus or (failure.crowded and self._in_use > 1)

    def _open(self) -> int:
        """The number of sessions that are open, as far as we know."""
        return self._in_session + len(self._idle)

    def _send_in_turn(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin) -> Receipt:
        kept = self._take_kept(deadline.clock())
        try:
            return self._send_over(kept or self._connect(deadline, replaced=False), envelope, data, deadline, begin)
        except ConnectionSpent:
            if kept is None or deadline.start_by(self._data_margin).remaining() <= 0:
                raise  # without time left, it was slow rather than dead
        return self._send_over(self._connect(deadline, replaced=True), envelope, data, deadline, begin)

    def _take_kept(self, now: float) -> SmtpConnection | None:
        with self._turns:
            self._in_session += 1
        kept = self._idle.take(now)
        if kept is None:
            with self._turns:
                self._in_session -= 1
        return kept

    def _connect(self, deadline: Deadline, replaced: bool) -> SmtpConnection:
        """A new session. Raises `_NoSession`, unless it was the attempt that had no time left for it."""
        began, start_by = deadline.clock(), deadline.start_by(self._data_margin)
        try:
            connection = open_connection(self._server, self._tokens, start_by)
        except NotSent as failure:
            if failure.code is ErrorCode.TEMPORARY and start_by.remaining() <= 0:
                raise
            raise _NoSession.of(failure) from failure
        fields = {
            "server": str(self._server),
            "duration_ms": millis(deadline.clock() - began),
            "replaced": replaced,
        }
        text = "replaced a dead connection" if replaced else "connected"
        with self._turns:
            self._in_session += 1
            self._limit.opened(began, self._open())
            self._turns.notify_all()
        self._may_grow(deadline.clock())
        log_event(_log, Event.CONNECTION, text, fields | {"connections": self._limit.value})
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
            with self._turns:
                self._in_session -= 1

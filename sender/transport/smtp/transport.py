"""The SMTP transport: mail over kept-open connections, at most so many at a time."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace

from sender.transport.envelope import Envelope, Receipt
from sender.transport.oauth import AccessTokens
from sender.transport.rate_limit import Breaker, BreakerRules, Rate
from sender.transport.smtp.config import SmtpServer
from sender.transport.smtp.connection import Progress, SmtpConnection, untold
from sender.transport.smtp.pool import IdleConnections, KeepOpen
from sender.transport.smtp.replies import ConnectionSpent, LoginRefused
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent
from shared.observability.events import Event, log_event, millis

_log = logging.getLogger(__name__)

#: Seconds that a mail may wait, its document claimed, for its turn under the rate limit; beyond, it is put off.
LONGEST_WAIT = 2.0


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """How the connections to the server are used.

    `data_margin` is the time in seconds that must be left of an attempt for DATA to start: a server that has the
    whole mail is given at least that long to answer, before the outcome counts as unknown. `turn_seconds` is how long
    a mail, its document claimed, waits for a free connection before it is put off.
    """

    max_connections: int = 10
    turn_seconds: float = 6.0
    mails_per_second: float | None = None
    data_margin: float = 10.0
    keep_open: KeepOpen = field(default_factory=KeepOpen)
    breaker: BreakerRules = field(default_factory=BreakerRules)


def open_connection(
    server: SmtpServer, tokens: AccessTokens | None, deadline: Deadline, progress: Progress = untold
) -> SmtpConnection:
    """A session that is logged in. An access token that is refused is replaced once: it may have been revoked."""
    if tokens is None:
        return SmtpConnection(server, deadline, progress=progress)
    token = tokens.get(deadline)
    try:
        return SmtpConnection(server, deadline, token, progress)
    except LoginRefused:
        return SmtpConnection(server, deadline, tokens.get(deadline, refused=token), progress)


class SmtpTransport:
    """A `Transport` to one server. Connects with the first mail, not before; safe to use from several threads."""

    def __init__(
        self, server: SmtpServer, limits: SmtpLimits | None = None, tokens: AccessTokens | None = None
    ) -> None:
        """Limits that the server's URI gives (`maxConnections`, `maxMessages`) go where they are lower.

        With `tokens`, the login is by XOAUTH2.
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
        self._breaker = Breaker(limits.breaker)
        self._rate = Rate(limits.mails_per_second) if limits.mails_per_second else None
        self._turns = threading.Condition()
        self._free = min(limits.max_connections, server.max_connections or limits.max_connections)
        self._closing = threading.Event()
        self._has_warned = False

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        """Hand over one mail, as `Transport` says.

        A kept-open connection that turns out to be dead, or to take no more mails, is replaced once before the content
        was given to it.
        """
        self._keep_pace(deadline)
        self._take_turn(deadline)
        try:
            receipt = self._send_in_turn(envelope, data, deadline)
        except DeliveryFailed as failure:
            if failure.code is not ErrorCode.CONNECTION:  # no answer says nothing about throttling
                wait = failure.retry_after if isinstance(failure, NotSent) else None
                self._breaker.record(failure.code is ErrorCode.THROTTLED, deadline.clock(), wait or 0.0)
            raise
        finally:
            self._give_turn_back()
        self._breaker.record(False, deadline.clock())
        return receipt

    def close(self) -> None:
        """Say goodbye on the kept-open connections; those in use follow when their mail is done.

        Mails that still wait for their turn are deferred.
        """
        self._closing.set()
        with self._turns:
            self._turns.notify_all()
        self._idle.close()

    def _keep_pace(self, deadline: Deadline) -> None:
        """Wait as the rate limit and the breaker want it; raises `Deferred` where that is long."""
        now = deadline.clock()
        seconds = self._breaker.wait(now)
        if seconds:
            raise Deferred(
                seconds, f"The mail server {self._server} is left alone, as it has throttled mail after mail."
            )
        if self._rate is None:
            return
        seconds = self._rate.wait(now, LONGEST_WAIT)
        if seconds > LONGEST_WAIT:
            raise Deferred(seconds, "SMTP_RATE_PER_SECOND is used up.")
        if seconds and self._closing.wait(seconds):
            raise self._shut()

    def _take_turn(self, deadline: Deadline) -> None:
        """Wait until one of the connections is free."""
        with self._turns:
            if self._free == 0:
                left = max(0.0, deadline.brought_forward(self._data_margin).remaining())
                patience = min(self._turn_seconds, left)
                self._turns.wait_for(lambda: self._free > 0 or self._closing.is_set(), patience)
            if self._closing.is_set():
                raise self._shut()
            if self._free == 0:
                raise Deferred(self._turn_seconds, f"All connections to the mail server {self._server} are busy.")
            self._free -= 1

    def _give_turn_back(self) -> None:
        with self._turns:
            self._free += 1
            self._turns.notify()

    def _send_in_turn(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        kept = self._idle.take(deadline.clock())
        if kept is not None:
            try:
                return self._send_over(kept, envelope, data, deadline)
            except ConnectionSpent:
                if deadline.brought_forward(self._data_margin).remaining() <= 0:
                    raise  # it was not dead but slow, and has used up the time
        fresh = self._connect(deadline, replaced=kept is not None)
        return self._send_over(fresh, envelope, data, deadline)

    def _shut(self) -> Deferred:
        return Deferred(None, "This sender is shutting down.")

    def _connect(self, deadline: Deadline, replaced: bool) -> SmtpConnection:
        began = deadline.clock()
        connection = open_connection(self._server, self._tokens, deadline.brought_forward(self._data_margin))
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

    def _send_over(self, connection: SmtpConnection, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        try:
            return connection.send(envelope, data, deadline, self._data_margin)
        finally:
            self._idle.put(connection, deadline.clock())

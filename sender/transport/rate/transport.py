"""A transport whose mails keep to a rate limit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sender.transport.envelope import Begin, Envelope, Receipt, Transport, at_once
from sender.transport.rate.limit import MOST_CLAIMED, RateLimit, Turn
from sender.transport.rate.shares import LONGEST_TURN
from shared.deadline import Deadline
from shared.errors import Deferred, ShuttingDown


@dataclass(frozen=True, slots=True)
class RateLimitedTransport:
    """A `Transport` that passes mails to another one when their turns have come.

    `data_margin` and `turn_seconds` are as in `SmtpLimits`.
    """

    transport: Transport
    limit: RateLimit
    data_margin: float
    turn_seconds: float
    _closing: threading.Event = field(default_factory=threading.Event)

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`."""
        start_by = deadline.start_by(self.data_margin)
        self._await_turn(envelope.tenant, start_by)

        def begin_in_time() -> None:
            self._sleep(self.limit.pace(deadline.clock(), envelope.tenant), start_by, LONGEST_TURN)
            begin()

        return self.transport.send(envelope, data, deadline, begin_in_time)

    @property
    def most(self) -> int:
        """See `Transport.most`."""
        return self.transport.most + MOST_CLAIMED

    def capacity(self, waiting: int) -> int:
        """See `Transport.capacity`: with those that wait for their turns, or are being put off."""
        return self.transport.capacity(waiting) + self.limit.capacity(waiting)

    def close(self) -> None:
        """See `Transport.close`. The limit's shares are given back after the last mail, by whoever made it."""
        self._closing.set()
        self.transport.close()

    def _await_turn(self, tenant: str, start_by: Deadline) -> None:
        turn = self._turn(tenant, start_by)
        if turn.soon:
            self._sleep(turn.seconds, start_by, self.turn_seconds)
            turn = self._turn(tenant, start_by)
        if not turn.granted:
            raise _put_off(turn.seconds)
        self._sleep(turn.seconds, start_by, LONGEST_TURN)

    def _turn(self, tenant: str, start_by: Deadline) -> Turn:
        return self.limit.turn(start_by.clock(), max(0.0, start_by.remaining()), tenant)

    def _sleep(self, seconds: float, start_by: Deadline, at_most: float) -> None:
        """Wait so long; raises `Deferred` if that takes too long."""
        if seconds > min(at_most, max(0.0, start_by.remaining())):
            raise _put_off(seconds)
        if seconds and self._closing.wait(seconds):
            raise ShuttingDown()


def _put_off(seconds: float) -> Deferred:
    return Deferred(seconds, "The rate is used up (SMTP_RATE_PER_SECOND, TENANT_RATE_PER_SECOND).")

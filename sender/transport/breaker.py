"""A circuit breaker for a mail server. The caller passes the current time in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.deadline import Monotonic
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, Outage
from shared.observability.events import Event, log_event, millis

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When the breaker opens, and for how long (seconds).

    A single failure says little; `threshold` in a row mean that the next mails would fail, too. `outages`: these count,
    and not only throttled mails.
    """

    threshold: int = 3
    first_pause: float = 5.0
    longest_pause: float = 300.0
    outages: bool = True


class HeldBack(Deferred):
    """The breaker is open, because the mail server is throttling."""


class Breaker:
    """Opens after several mails in a row that were throttled or met an outage; then lets one mail at a time probe.

    Thread-safe. All times are monotonic seconds.
    """

    def __init__(self, server: str, rules: BreakerRules) -> None:
        """`server` is the mail server's name for messages."""
        self._server = server
        self._rules = rules
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._pauses = 0
        self._probing = False
        self._open_until = 0.0
        self._cause: NotSent | None = None

    @contextmanager
    def passage(self, clock: Monotonic) -> Iterator[None]:
        """Send one mail in the block; its outcome is recorded. Raises `Deferred` or `Outage` while it is open."""
        is_probe = self.admit(clock())
        try:
            yield
        except DeliveryFailed as failure:
            self._report(self.record(failure, clock(), is_probe))
            raise
        except BaseException:
            self.forget(is_probe)
            raise
        self._report(self.record(None, clock(), is_probe))

    def admit(self, now: float) -> bool:
        """Admit one mail; raises `Deferred` or `Outage` while the breaker is open.

        Returns whether the mail is a probe: the first one after a pause is. The others wait until its outcome is known.
        """
        with self._lock:
            if not self._pauses:
                return False
            seconds = self._pause() if self._probing else self._open_until - now
            if seconds > 0:
                raise self._refusal(seconds)
            self._probing = True
            return True

    def record(self, failure: DeliveryFailed | None, now: float, is_probe: bool) -> float | None:
        """Record the outcome of an admitted mail. Returns the pause that begins with it; 0 if the breaker closes.

        Mails that were in flight when the breaker opened can close it, but not lengthen its pause. A connection that
        was lost says nothing; if it was a probe's, another one follows after the same pause.
        """
        with self._lock:
            if is_probe:
                self._probing = False
            if not isinstance(failure, NotSent) or not self._counts(failure):
                if failure is not None and failure.code is ErrorCode.CONNECTION:
                    self._open_until = now + self._pause() if is_probe else self._open_until
                    return None
                was_open, self._in_a_row, self._pauses = bool(self._pauses), 0, 0
                return 0.0 if was_open else None
            self._in_a_row += 1
            self._cause = failure
            if not (is_probe if self._pauses else self._in_a_row >= self._rules.threshold):
                return None
            self._pauses += 1
            pause = max(self._pause(), failure.retry_after or 0.0)
            self._open_until = now + pause
            return pause

    def forget(self, is_probe: bool) -> None:
        """The admitted mail did not get to the server: if it was a probe, the next one is."""
        with self._lock:
            self._probing = self._probing and not is_probe

    def _counts(self, failure: NotSent) -> bool:
        if isinstance(failure, Outage):
            return self._rules.outages
        return failure.code is ErrorCode.THROTTLED

    def _pause(self) -> float:
        return min(self._rules.first_pause * float(2 ** (self._pauses - 1)), self._rules.longest_pause)

    def _refusal(self, seconds: float) -> Deferred | Outage:
        """What a mail gets that is not admitted for so long."""
        if not isinstance(self._cause, Outage):
            text = f"Circuit breaker open: the mail server {self._server} is throttling. Retrying later."
            return HeldBack(seconds, text)
        outage = Outage.of(self._cause)
        outage.retry_after = seconds
        return outage

    def _report(self, pause: float | None) -> None:
        if pause is None:
            return
        cause = self._cause.code if pause and self._cause else "closed"
        fields = {"server": self._server, "reason": cause, "retry_after_ms": millis(pause)}
        text = "the breaker holds mail back" if pause else "the mail server takes mail again"
        log_event(_log, Event.BREAKER, text, fields, logging.WARNING if pause else logging.INFO)

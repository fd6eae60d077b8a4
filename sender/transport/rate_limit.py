"""A rate limit and a circuit breaker for a mail server. The caller passes the current time in."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When the breaker opens, and for how long (seconds).

    A single throttled mail says little; `threshold` in a row mean that the next ones would be throttled, too.
    """

    threshold: int = 3
    first_pause: float = 5.0
    longest_pause: float = 300.0


class Breaker:
    """Opens after several throttled mails in a row; after each pause, lets one mail through as a probe.

    Thread-safe. All times are monotonic seconds.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._throttled_in_a_row = 0
        self._pauses = 0
        self._probing = False
        self._open_until = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next mail may be sent; 0 admits this one.

        The first mail admitted after a pause is the probe. The others wait until its outcome is known, but no longer
        than another pause.
        """
        with self._lock:
            if self._pauses == 0:
                return 0.0
            if now < self._open_until:
                return self._open_until - now
            self._probing = True
            self._open_until = now + self._pause()
            return 0.0

    def record(self, throttled: bool, now: float, wanted: float = 0.0) -> None:
        """Record the outcome of an admitted mail; `wanted` is the pause, in seconds, that the server asked for.

        Each pause is lengthened only once: mails that were in flight when the breaker opened say nothing new.
        """
        with self._lock:
            if not throttled:
                self._throttled_in_a_row = self._pauses = 0
                return
            self._throttled_in_a_row += 1
            opens = self._probing if self._pauses else self._throttled_in_a_row >= self._rules.threshold
            if opens:
                self._probing = False
                self._pauses += 1
                self._open_until = now + max(self._pause(), wanted)

    def _pause(self) -> float:
        return min(self._rules.first_pause * float(2 ** (self._pauses - 1)), self._rules.longest_pause)


class Rate:
    """A rate limit with bursts of up to one second's worth of mails (GCRA).

    Thread-safe. All times are monotonic seconds.
    """

    def __init__(self, per_second: float) -> None:
        """`per_second` is the average number of mails per second; it may be less than 1."""
        self._interval = 1.0 / per_second
        self._burst = max(1.0, self._interval)
        self._lock = threading.Lock()
        self._full_at = 0.0

    def wait(self, now: float, patience: float) -> float:
        """Seconds until the mail may be sent. Reserves its turn if that is at most `patience` seconds away."""
        with self._lock:
            full_at = max(self._full_at, now) + self._interval
            seconds = max(0.0, full_at - self._burst - now)
            if seconds <= patience:
                self._full_at = full_at
            return seconds

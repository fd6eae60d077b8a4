"""Going no faster than a mail server wants: a rate limit and a circuit breaker, both without a clock of their own."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to leave a server alone, and for how long (seconds).

    One mail that is throttled says little; several in a row say that the others would be, too.
    """

    threshold: int = 3
    first_pause: float = 5.0
    longest_pause: float = 300.0


class Breaker:
    """Opens when the server throttles mail after mail; then lets one mail probe whether it has calmed down.

    Safe to use from several threads. All times are monotonic seconds.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._throttled_in_a_row = 0
        self._pauses = 0
        self._probing = False
        self._open_until = 0.0

    def wait(self, now: float) -> float:
        """Seconds for which the server should be left alone; 0 admits the mail.

        The mail that is admitted first after a pause is the probe: until its outcome is known, or as long as another
        pause lasts, the others keep waiting.
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
        """Note the outcome of a mail that was admitted, and for how many seconds the server wants to be left alone.

        Mails that were under way already when the breaker opened say nothing new: each pause is lengthened once.
        """
        with self._lock:
            if not throttled:
                self._throttled_in_a_row = self._pauses = 0
                return
            self._throttled_in_a_row += 1
            goes_on = self._probing if self._pauses else self._throttled_in_a_row >= self._rules.threshold
            if goes_on:
                self._probing = False
                self._pauses += 1
                self._open_until = now + max(self._pause(), wanted)

    def _pause(self) -> float:
        return min(self._rules.first_pause * float(2 ** (self._pauses - 1)), self._rules.longest_pause)


class Rate:
    """At most so many mails a second on average, and no more than a second's worth at once (GCRA).

    Safe to use from several threads. All times are monotonic seconds.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._burst = max(1.0, self._interval)
        self._lock = threading.Lock()
        self._full_at = 0.0

    def wait(self, now: float, patience: float) -> float:
        """Seconds until the mail's turn. Where that is within `patience`, the turn is taken; else it is not."""
        with self._lock:
            full_at = max(self._full_at, now) + self._interval
            seconds = max(0.0, full_at - self._burst - now)
            if seconds <= patience:
                self._full_at = full_at
            return seconds

"""A rate limit for a mail server. The caller passes the current time in."""

from __future__ import annotations

import threading


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

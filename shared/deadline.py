"""Deadlines on the monotonic clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: A clock in seconds that never jumps; all deadlines use it.
Monotonic = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Deadline:
    """The point on the monotonic clock by which an attempt must have ended, whatever a server does.

    Nothing that can't be taken back begins after `latest_start`, which is on the same clock; what has begun goes on.
    """

    at: float
    clock: Monotonic = time.monotonic
    latest_start: float = math.inf

    @classmethod
    def after(cls, seconds: float, clock: Monotonic = time.monotonic) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(clock() + seconds, clock)

    def within(self, seconds: float) -> Deadline:
        """The point `seconds` from now, or this deadline if that is earlier."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock, self.latest_start)

    def starting_within(self, seconds: float) -> Deadline:
        """This deadline for what may only begin within `seconds` from now."""
        return Deadline(self.at, self.clock, min(self.latest_start, self.clock() + seconds))

    def start_by(self, margin: float = 0.0) -> Deadline:
        """The point by which something must begin that may take `margin` seconds."""
        return Deadline(min(self.at - margin, self.latest_start), self.clock)

    @property
    def start_missed(self) -> bool:
        """Whether `latest_start` has come."""
        return self.clock() >= self.latest_start

    def remaining(self) -> float:
        """Seconds left; zero or negative once it has passed."""
        return self.at - self.clock()


#: No deadline.
NEVER = Deadline(math.inf)

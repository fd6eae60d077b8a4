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
    """The point on the monotonic clock by which an attempt must have ended, whatever a server does."""

    at: float
    clock: Monotonic = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Monotonic = time.monotonic) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(clock() + seconds, clock)

    def within(self, seconds: float) -> Deadline:
        """The point `seconds` from now, or this deadline if that is earlier."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def brought_forward(self, seconds: float) -> Deadline:
        """The point `seconds` before this deadline."""
        return Deadline(self.at - seconds, self.clock)

    def remaining(self) -> float:
        """Seconds left; zero or negative once it has passed."""
        return self.at - self.clock()


#: No deadline.
NEVER = Deadline(math.inf)

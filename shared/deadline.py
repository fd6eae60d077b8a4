"""Points in time by which work must have ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds on a clock that never jumps; all deadlines are counted in them.
Monotonic = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on the monotonic clock by which an attempt must have ended, whatever a server does."""

    at: float
    clock: Monotonic = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Monotonic = time.monotonic) -> Deadline:
        """The deadline that lies `seconds` from now."""
        return cls(clock() + seconds, clock)

    def within(self, seconds: float) -> Deadline:
        """The point `seconds` from now, or this deadline where that comes first."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def brought_forward(self, seconds: float) -> Deadline:
        """The point `seconds` before this deadline."""
        return Deadline(self.at - seconds, self.clock)

    def remaining(self) -> float:
        """Seconds left; zero or negative when it has passed."""
        return self.at - self.clock()


#: For what has all the time in the world.
NEVER = Deadline(math.inf)

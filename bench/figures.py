"""What is made of measurements: percentiles, and figures per mail. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds within which half, 95 % and 99 % were done."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Quantiles:
        """Raises `ValueError` where there is nothing."""
        ordered = sorted(seconds)
        return cls(*(quantile(ordered, share) for share in (0.5, 0.95, 0.99)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, which are in ascending order, that at least `share` of them do not exceed."""
    if not ordered:
        raise ValueError("There are no values.")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a service took for a load: CPU seconds, and resident bytes before, at most, and after it."""

    cpu: float
    resident_before: int
    resident_peak: int
    resident_after: int


@dataclass(frozen=True, slots=True)
class Row:
    """One load on one mode. Times are in seconds."""

    mode: str
    load: str
    mails: int
    succeeded: int
    seconds: float
    to_accept: Quantiles
    to_success: Quantiles
    dispatcher: Cost
    sender: Cost
    connections: int
    round_trips: int

    @property
    def rate(self) -> float:
        """Mails a second, from the first one's writing to the last one's result."""
        return self.mails / self.seconds

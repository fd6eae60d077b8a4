"""What is made of measurements: percentiles, and figures per mail. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
    """The smallest of the values, which are in ascending order, that at least `share` of them do not exceed.

    Raises `ValueError` where there is nothing.
    """
    if not ordered:
        raise ValueError("There are no values.")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes: at the load's begin, at most in the first half of its time and in the second, at its end."""

    before: int
    early_peak: int
    late_peak: int
    after: int

    @classmethod
    def of(cls, samples: Sequence[int]) -> Memory:
        """From at least two samples, taken at an even pace."""
        half = len(samples) // 2
        return cls(samples[0], max(samples[:half]), max(samples[half:]), samples[-1])

    @property
    def peak(self) -> int:
        """At most."""
        return max(self.early_peak, self.late_peak)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a service took for a load: CPU seconds of all its processes, and their memory."""

    cpu: float
    memory: Memory


@dataclass(frozen=True, slots=True)
class Smtp:
    """What the mail server has seen: new connections, and answers that the sender waited for."""

    connections: int
    round_trips: int


@dataclass(frozen=True, slots=True)
class Row:
    """One load on one mode.

    Times are in seconds: `seconds` from the first mail's begin (its document's creation; of queued ones, the messages'
    publishing) to the last one's result, the quantiles from a document's creation. `other_cpu` is what everything else
    on the machine used meanwhile, the emulators above all. None is what was not there to be measured.
    """

    mode: str
    load: str
    mails: int
    succeeded: int
    duplicates: int
    seconds: float
    other_cpu: float
    to_accept: Quantiles | None
    to_success: Quantiles | None
    dispatcher: Cost | None
    sender: Cost
    smtp: Smtp | None

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.mails / self.seconds

    @property
    def is_complete(self) -> bool:
        """Whether every mail was sent once; where nobody writes results, there is no telling."""
        return self.to_success is None or (self.succeeded == self.mails and not self.duplicates)

    @property
    def dispatcher_ms(self) -> float | None:
        """CPU milliseconds of the dispatcher per mail."""
        return 1000 * self.dispatcher.cpu / self.mails if self.dispatcher else None

    @property
    def sender_ms(self) -> float:
        """CPU milliseconds of the sender per mail."""
        return 1000 * self.sender.cpu / self.mails

    @property
    def both_ms(self) -> float | None:
        """CPU milliseconds of both services per mail."""
        return self.dispatcher_ms + self.sender_ms if self.dispatcher_ms is not None else None


@dataclass(frozen=True, slots=True)
class Operations:
    """What a load has asked of Firestore and Pub/Sub: counts by the proxy's names, for each service."""

    mode: str
    load: str
    mails: int
    dispatcher: Mapping[str, int]
    sender: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Reference:
    """A figure to compare with."""

    name: str
    value: float
    unit: str

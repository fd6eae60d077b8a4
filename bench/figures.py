"""Figures calculated from measurements: percentiles, and figures per mail. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds within which half, 95 % and 99 % of the mails were done."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Quantiles:
        """Raises `ValueError` if `seconds` is empty."""
        ordered = sorted(seconds)
        return cls(*(quantile(ordered, share) for share in (0.5, 0.95, 0.99)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, in ascending order, that at least the fraction `share` of them do not exceed.

    Raises `ValueError` if there are none.
    """
    if not ordered:
        raise ValueError("There are no values.")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes: at the load's start, the maxima of the first and the second half, and at its end."""

    before: int
    early_peak: int
    late_peak: int
    after: int

    @classmethod
    def of(cls, samples: Sequence[int]) -> Memory:
        """From at least two samples at regular intervals."""
        half = len(samples) // 2
        return cls(samples[0], max(samples[:half]), max(samples[half:]), samples[-1])

    @property
    def peak(self) -> int:
        """The maximum."""
        return max(self.early_peak, self.late_peak)


@dataclass(frozen=True, slots=True)
class Cost:
    """A service's usage during a load: CPU seconds of all its processes, and their memory."""

    cpu: float
    memory: Memory


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server's view: new connections, and answers that the sender waited for."""

    connections: int
    round_trips: int


@dataclass(frozen=True, slots=True)
class Row:
    """One load in one mode.

    Times are in seconds: `seconds` from the first mail's start (its document's creation; for queued ones, the messages'
    publishing) to the last one's result, the quantiles from a document's creation. `other_cpu` is the use of everything
    else on the machine meanwhile, mainly the emulators. None means not measured.
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
        """Mails per second."""
        return self.mails / self.seconds

    @property
    def is_complete(self) -> bool:
        """Whether every mail was sent once; always true if nobody records results."""
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
    """The requests of a load to Firestore and Pub/Sub: counts by the proxy's names, for each service."""

    mode: str
    load: str
    mails: int
    dispatcher: Mapping[str, int]
    sender: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Reference:
    """A figure for comparison."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Start:
    """A service's starts, in seconds: from the process's start to the first answer, and to the acceptance of a mail.

    The mail's document is written at the first answer, while the other service runs. `cpu` is until the first answer.
    """

    mode: str
    service: str
    times: int
    to_health: Quantiles
    to_accept: Quantiles
    cpu: Quantiles

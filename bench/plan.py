"""What can be measured: modes of the services, and loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dispatcher.settings import DispatcherSettings
from local.errors import CannotStart
from sender.settings import SenderSettings


class Shape(StrEnum):
    """The arrival pattern of mails.

    SINGLE: each is written when the previous one has arrived. BURST: all are written at once. STEADY: at a constant
    rate. QUEUED: their documents are already PENDING, and all messages are published at once, bypassing the dispatcher.
    """

    SINGLE = "single"
    BURST = "burst"
    STEADY = "steady"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Load:
    """This many mails with about `size` bytes of text and html; a STEADY load also has a rate in mails per second."""

    name: str
    shape: Shape
    mails: int
    size: int = 1400
    rate: float = 0.0


SINGLE = Load("1 at a time", Shape.SINGLE, 100)
BURST_300 = Load("burst 300", Shape.BURST, 300)
BURST_1K = Load("burst 1k", Shape.BURST, 1_000)
BURST_3K = Load("burst 3k", Shape.BURST, 3_000)
BURST_10K = Load("burst 10k", Shape.BURST, 10_000)
STEADY = Load("steady", Shape.STEADY, 0)
LARGE_10K = Load("burst 10k of 20 kB", Shape.BURST, 10_000, 20_000)
QUEUED_3K = Load("queued 3k", Shape.QUEUED, 3_000)

LOADS = {
    "single": SINGLE,
    "burst-300": BURST_300,
    "burst-1k": BURST_1K,
    "burst-3k": BURST_3K,
    "burst-10k": BURST_10K,
    "steady": STEADY,
    "burst-10k-20kb": LARGE_10K,
}


@dataclass(frozen=True, slots=True)
class Mode:
    """The sender's subscription type, and what differs from the defaults: the services' settings, the mail server.

    `loads` are its default loads: each burst of 10,000 takes minutes.
    """

    name: str
    sender: tuple[str, ...] = ("sender", "push")
    pulls: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    smtp_without: tuple[str, ...] = ()
    smtp_delay_ms: int = 0
    loads: tuple[Load, ...] = ()


UNBATCHED = Mode("push unbatched", settings={"BATCH_SIZE": "1"}, loads=(SINGLE, BURST_1K, BURST_3K, STEADY))
PUSH = Mode("push", loads=(SINGLE, BURST_1K, BURST_3K, BURST_10K, STEADY, LARGE_10K))
PUSH_50_MS = Mode("push, SMTP 50 ms", smtp_delay_ms=50, loads=(BURST_3K,))
PUSH_300_MS = Mode("push, SMTP 300 ms", smtp_delay_ms=300, loads=(BURST_3K,))
PULL = Mode("pull", sender=("sender", "pull"), pulls=True, loads=(SINGLE, BURST_1K, BURST_3K, BURST_10K, STEADY))
PULL_50_MS = Mode("pull, SMTP 50 ms", sender=PULL.sender, pulls=True, smtp_delay_ms=50, loads=(BURST_3K,))
PULL_300_MS = Mode("pull, SMTP 300 ms", sender=PULL.sender, pulls=True, smtp_delay_ms=300, loads=(BURST_3K,))
UNPIPELINED = Mode("push without PIPELINING", smtp_without=("PIPELINING", "CHUNKING"))
NAIVE = Mode("naive sender", sender=("bench.naive",))
FLOOR = Mode("empty handlers", sender=("bench.standin", "take"))

MODES = {
    "push-unbatched": UNBATCHED,
    "push": PUSH,
    "pull": PULL,
    "push-50-ms": PUSH_50_MS,
    "push-300-ms": PUSH_300_MS,
    "pull-50-ms": PULL_50_MS,
    "pull-300-ms": PULL_300_MS,
}

_STEADY_SECONDS = 15.0


def at_half(capacity: float) -> Load:
    """The steady load for a mode with a throughput of `capacity` mails per second."""
    rate = capacity / 2
    return replace(STEADY, mails=max(10, round(rate * _STEADY_SECONDS)), rate=rate)


def require_settings(mode: Mode) -> None:
    """Raises `CannotStart` if the services lack a setting of the mode: the measurement would be meaningless."""
    known = {*DispatcherSettings.model_fields, *SenderSettings.model_fields}
    unknown = [name for name in mode.settings if name.lower() not in known]
    if unknown:
        raise CannotStart(f"Mode '{mode.name}' needs settings that the services do not have: {', '.join(unknown)}.")

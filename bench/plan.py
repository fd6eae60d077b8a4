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
    """This many mails with about `size` bytes of text and html; a STEADY load also has a rate in mails per second.

    `bulk` of the mails are in the lane `bulk` and are written at once, before the others. Latencies are the others'.
    """

    name: str
    shape: Shape
    mails: int
    size: int = 1400
    rate: float = 0.0
    bulk: int = 0


SINGLE = Load("1 at a time", Shape.SINGLE, 100)
SINGLE_30 = replace(SINGLE, mails=30)
FIRST = Load("the first mail", Shape.SINGLE, 1)
BURST_300 = Load("burst 300", Shape.BURST, 300)
BURST_1K = Load("burst 1k", Shape.BURST, 1_000)
BURST_3K = Load("burst 3k", Shape.BURST, 3_000)
BURST_10K = Load("burst 10k", Shape.BURST, 10_000)
STEADY = Load("steady", Shape.STEADY, 0)
LARGE_5K = Load("burst 5k of 20 kB", Shape.BURST, 5_000, 20_000)
#: One mail every 0.2 s while a newsletter is under way.
BESIDE_1K = Load("50 beside 1k in lane bulk", Shape.STEADY, 1_050, rate=5.0, bulk=1_000)
QUEUED_3K = Load("queued 3k", Shape.QUEUED, 3_000)

LOADS = {
    "single": SINGLE,
    "burst-300": BURST_300,
    "burst-1k": BURST_1K,
    "burst-3k": BURST_3K,
    "burst-10k": BURST_10K,
    "steady": STEADY,
    "burst-5k-20kb": LARGE_5K,
    "beside-1k": BESIDE_1K,
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
    smtp_delay_ms: int = 0
    loads: tuple[Load, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the services have their default settings, and the mail server is near."""
        return not self.settings and not self.smtp_delay_ms


UNBATCHED = Mode("push unbatched", settings={"BATCH_SIZE": "1"}, loads=(BURST_3K,))
PUSH = Mode("push", loads=(SINGLE, BURST_1K, BURST_3K, BURST_10K, STEADY, LARGE_5K))
PUSH_50_MS = Mode("push, SMTP 50 ms", smtp_delay_ms=50, loads=(SINGLE_30, BURST_1K))
PUSH_300_MS = Mode("push, SMTP 300 ms", smtp_delay_ms=300, loads=(SINGLE_30, BURST_1K))
PULL = Mode("pull", sender=("sender", "pull"), pulls=True, loads=(SINGLE, BURST_1K, BURST_10K))
PULL_300_MS = replace(PULL, name="pull, SMTP 300 ms", smtp_delay_ms=300, loads=(BESIDE_1K,))
LANES_300_MS = replace(PULL_300_MS, name="pull, SMTP 300 ms, lanes", settings={"LANES": "bulk"}, loads=(BESIDE_1K,))
NAIVE = Mode("naive sender", sender=("bench.naive",))
FLOOR = Mode("empty handlers", sender=("bench.standin", "take"))

MODES = {
    "push-unbatched": UNBATCHED,
    "push": PUSH,
    "pull": PULL,
    "push-50-ms": PUSH_50_MS,
    "push-300-ms": PUSH_300_MS,
    "pull-300-ms": PULL_300_MS,
    "lanes-300-ms": LANES_300_MS,
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

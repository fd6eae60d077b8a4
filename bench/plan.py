"""What can be measured: modes of the services, and loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """How mails are written: each when the one before has ended, all at once, or at an even rate."""

    SINGLE = "one at a time"
    BURST = "burst"
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class Load:
    """So many mails of about `size` bytes of text and html together."""

    name: str
    shape: Shape
    mails: int
    size: int = 1400


@dataclass(frozen=True, slots=True)
class Mode:
    """How the sender gets its messages, and the settings of both services that differ from the defaults."""

    name: str
    sender: tuple[str, ...] = ("sender", "push")
    settings: Mapping[str, str] | None = None
    pulls: bool = False


MODES = {
    mode.name: mode
    for mode in (
        Mode("push-unbatched", settings={"BATCH_SIZE": "1"}),
        Mode("push"),
        Mode("pull", sender=("sender", "pull"), pulls=True),
    )
}

LOADS = {
    load.name: load
    for load in (
        Load("single", Shape.SINGLE, 100),
        Load("burst-1k", Shape.BURST, 1000),
        Load("burst-3k", Shape.BURST, 3000),
        Load("burst-10k", Shape.BURST, 10000),
        Load("steady", Shape.STEADY, 1000),
        Load("burst-10k-20kB", Shape.BURST, 10000, 20_000),
    )
}

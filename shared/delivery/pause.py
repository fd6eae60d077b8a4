"""What is paused, as the control document says it, and how fast the rest follows. Pure.

The document lies beside the mail collection, not in it: `mail-firepost/control` for `mail`. `python -m cli pause` and
`resume` write it; the reconciler removes `resumed` when it has caught up.

    field             is
    pausedTime        since when all mail is paused; absent: it is not
    pausedTransports  since when each of these transports is paused, by name
    pausedLanes       the same of lanes
    resumed           {time, rate, granted, gathered}: when mail was resumed; at most how many mails a second are to be
                      published of those that had waited (null: no limit); until when that rate has been used up, at
                      first until all senders know; and whether all that waited for a part is due now

What the services do about it (the decisions are `while_paused` and `after_pause` in `machine`):

                      all mail is paused                   a part is: transport T, or lane L
    dispatcher        schedules what it would publish      publishes
    reconciler        publishes nothing; concludes leases  publishes
                      and mails that have expired
    sender            schedules what it would claim        claims, and puts off T's mails before they are handed over,
                                                           L's before they are composed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from shared.delivery.model import DELETE, Changes
from shared.document_ids import own_path
from shared.errors import Paused

#: A pause that lasts longer than this is one that somebody may have forgotten.
LONG: Final = timedelta(days=1)

#: Within this time, every process that has work knows what is paused.
KNOWN_WITHIN: Final = timedelta(seconds=5)

#: For how long after the resumption a sender may still put a mail off: that time, and what the write may take.
AFTERMATH: Final = timedelta(minutes=1)

#: The longest time whose share a run publishes at once: the longest between two runs (Terraform's reconcile_minutes).
_LONGEST_INTERVAL: Final = timedelta(minutes=30)


def control_path(collection: str) -> str:
    """The path of the control document of a mail collection."""
    return own_path(collection, "control")


class Kind(StrEnum):
    """What the mails of a part have in common."""

    TRANSPORT = "transport"
    LANE = "lane"


class Part(NamedTuple):
    """A part of all mail, which can be paused for itself: that of a transport, or of a lane."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


#: The fields of the control document, in the order in which people are told.
_FIELDS: Final = {Kind.LANE: "pausedLanes", Kind.TRANSPORT: "pausedTransports"}


@dataclass(frozen=True, slots=True)
class Resumed:
    """A resumption at `time`; `rate` mails a second may follow (None: any number), which was used until `granted`.

    `gathered`: all that waited for a part is due now.
    """

    time: datetime
    rate: float | None
    granted: datetime
    gathered: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """What is paused: all mail, if `since` says so, and the `parts`, each with the time since when (UTC)."""

    since: datetime | None = None
    parts: Mapping[Part, datetime] = field(default_factory=dict)
    resumed: Resumed | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None) -> Pause:
        """Read the decoded control document; None if there is none: nothing is paused.

        Fields that this version does not know are left alone. Raises `ValueError` with the field and what is expected.
        """
        known = fields or {}
        since, resumed = known.get("pausedTime"), known.get("resumed")
        if "pausedTime" in known and not isinstance(since, datetime):
            raise ValueError("pausedTime: expected a timestamp")
        for name in _FIELDS.values():
            if not _are_times(known.get(name, {})):
                raise ValueError(f"{name}: expected a map of timestamps")
        if "resumed" in known and not _is_resumption(resumed):
            raise ValueError("resumed: expected a map as 'cli resume' writes it, with a rate above 0 or null")
        times = {kind: known.get(name, {}) for kind, name in _FIELDS.items()}
        parts = {Part(kind, name): found[name] for kind, found in times.items() for name in sorted(found)}
        return cls(since, parts, Resumed(**resumed) if resumed else None)

    def named(self, kind: Kind) -> dict[str, datetime]:
        """Since when parts of this kind are paused, by name."""
        return {part.name: time for part, time in self.parts.items() if part.kind is kind}

    def check(self, lane: str, transport: str | None) -> None:
        """Raises `Paused` if no mail of the lane may be handed over to the transport; None is any transport."""
        if self.since is not None:
            raise Paused(None)
        names = {Kind.LANE: lane, Kind.TRANSPORT: transport}
        for part in self.parts:
            if names[part.kind] == part.name:
                raise Paused(str(part))

    @property
    def oldest(self) -> datetime | None:
        """Since when something has been paused; None if nothing is."""
        return min((time for time in (self.since, *self.parts.values()) if time is not None), default=None)

    @property
    def sentence(self) -> str:
        """What is paused, in one line; empty if nothing is."""
        parts = [f"all mail is paused since {_text(self.since)}"] if self.since else []
        parts += [f"{part} is paused since {_text(time)}" for part, time in self.parts.items()]
        return "; ".join(parts)

    def duration(self, now: datetime) -> str | None:
        """Whether the oldest pause is `recent` or `long` at `now`, in a word for logs; None if nothing is paused."""
        if self.oldest is None:
            return None
        return "long" if now - self.oldest >= LONG else "recent"


# What operators write


def pausing(pause: Pause, part: Part | None, now: datetime) -> Changes | None:
    """The changes that pause a part, or (None) all mail; None if that is so already."""
    if part is None:
        return None if pause.since else {"pausedTime": now}
    if part in pause.parts:
        return None
    return {_FIELDS[part.kind]: pause.named(part.kind) | {part.name: now}}


def resuming(pause: Pause, part: Part | None, rate: float | None, now: datetime) -> Changes | None:
    """The changes that resume it; None if it is not paused. What has waited follows at the rate: see `Resumed`."""
    if part is None and pause.since:
        resumed: Changes = {"pausedTime": DELETE}
    elif part is not None and part in pause.parts:
        left = {name: time for name, time in pause.named(part.kind).items() if name != part.name}
        resumed = {_FIELDS[part.kind]: left}
    else:
        return None
    return {**resumed, "resumed": {"time": now, "rate": rate, "granted": now + KNOWN_WITHIN, "gathered": False}}


# How the reconciler catches up


def share(pause: Pause, now: datetime) -> tuple[int | None, Changes | None]:
    """How many mails that have waited a run may publish at `now`, and the changes that say so.

    None is any number. The changes are written first: runs that overlap or die publish fewer, never more.
    """
    resumed = pause.resumed
    if resumed is None or pause.since is not None or now < resumed.granted:
        return 0, None
    if resumed.rate is None:
        return None, None
    begin = max(resumed.granted, now - _LONGEST_INTERVAL)
    number = int((now - begin).total_seconds() * resumed.rate)
    if number < 1:
        return 0, None
    return number, {"resumed.granted": begin + timedelta(seconds=number / resumed.rate)}


def gathered(pause: Pause, resumed: Resumed, now: datetime) -> Changes | None:
    """The changes that say that all which waited for a part is due; None if a sender may still put off some."""
    is_same = pause.resumed is not None and pause.resumed.time == resumed.time
    return {"resumed.gathered": True} if is_same and now >= resumed.time + AFTERMATH else None


def caught_up(pause: Pause, resumed: Resumed) -> Changes | None:
    """The changes that end a resumption after which nothing waits any more; None if something may still come."""
    is_over = pause.resumed is not None and pause.resumed.time == resumed.time and pause.resumed.gathered
    return {"resumed": DELETE} if is_over else None


def _are_times(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(time, datetime) for time in found.values())


def _is_resumption(found: object) -> bool:
    match found:
        case {
            "time": datetime(),
            "rate": int() | float() | None as rate,
            "granted": datetime(),
            "gathered": bool(),
            **others,
        }:
            return not others and rate is not True and (rate is None or 0 < rate < float("inf"))
    return False


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")

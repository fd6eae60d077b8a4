"""Shares of limits, as they stand in one small document: who may send how many mails per second. Pure.

No share counts on clocks that agree. A process stops by its own clock, counted from before its transaction. Others
count from when they first saw that entry, which is later, and take its share only after that and a pause. So a process
that crashes loses its share, and the limit is never exceeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

#: A process asks for shares at most this often, in seconds.
PERIOD: Final = 5.0
#: How long a share holds, in seconds: two requests may fail before it ends.
LEASE: Final = 3 * PERIOD
#: A process that hears nothing for this many seconds sends nothing until it does.
LONGEST_ANSWER: Final = 2.0
#: The longest that a mail waits for its turn, in seconds. The turn may come after the share that it was based on.
LONGEST_TURN: Final = 2.0
#: What a share loses is free for others after this many seconds: the answer, the last turns, and the second counted.
PAUSE: Final = LONGEST_ANSWER + LONGEST_TURN + 1.0

#: More entries than ever stand in the document, which may have a MiB.
_MOST_ENTRIES: Final = 5_000


class Share(NamedTuple):
    """The entry of a process: its `renewal`s so far, and numbers of mails per second.

    It may use `mails`; before this renewal it could use `before`; and it could make use of `wanted`. It has put off
    `waiting` mails, which will come back.
    """

    renewal: int
    mails: int
    before: int
    wanted: int
    waiting: int = 0


_NOTHING: Final = Share(0, 0, 0, 0)


class Sighting(NamedTuple):
    """The renewal of another process, and when it was seen first, in monotonic seconds of the one who saw it."""

    renewal: int
    since: float


#: The entries of one limit, by process.
Shares = Mapping[str, Share]
Sightings = Mapping[str, Sighting]

#: The entries of all limits, by the limit's name.
Ledger = Mapping[str, Shares]


def read_ledger(fields: Mapping[str, Any]) -> dict[str, dict[str, Share]]:
    """The entries of the decoded document; what is no entry counts for nothing."""
    ledger: dict[str, dict[str, Share]] = {}
    for limit, process, share in islice(_entries(fields.get("limits")), _MOST_ENTRIES):
        ledger.setdefault(limit, {})[process] = share
    return ledger


def _entries(limits: object) -> Iterator[tuple[str, str, Share]]:
    for limit, entries in limits.items() if isinstance(limits, Mapping) else ():
        for process, entry in entries.items() if isinstance(entries, Mapping) else ():
            if (share := _share(entry)) is not None:
                yield limit, process, share


def _share(entry: object) -> Share | None:
    match entry:
        case {
            "renewal": int(renewal),
            "mails": int(mails),
            "before": int(before),
            "wanted": int(wanted),
            "waiting": int(waiting),
        }:
            share = Share(renewal, mails, before, wanted, waiting)
            return share if min(share) >= 0 else None
    return None


def written_ledger(ledger: Ledger) -> dict[str, Any]:
    """The fields of the document with these entries."""
    return {
        "limits": {
            limit: {process: share._asdict() for process, share in shares.items()}
            for limit, shares in ledger.items()
            if shares
        }
    }


def sighted(ledger: Ledger, seen: Mapping[str, Sightings], now: float) -> dict[str, dict[str, Sighting]]:
    """What is known of the entries, which are seen `now`, after what was `seen` before."""
    return {limit: _sighted(shares, seen.get(limit, {}), now) for limit, shares in ledger.items()}


def _sighted(shares: Shares, seen: Sightings, now: float) -> dict[str, Sighting]:
    return {
        process: known
        if (known := seen.get(process)) is not None and known.renewal == share.renewal
        else Sighting(share.renewal, now)
        for process, share in shares.items()
    }


def present(shares: Shares, seen: Sightings, now: float) -> dict[str, Share]:
    """The entries of processes that have not vanished; `seen` is `sighted` of them."""
    return {process: share for process, share in shares.items() if now - seen[process].since < LEASE + PAUSE}


class Wish(NamedTuple):
    """What a process could use of a `limit`, in mails per second, and the mails that it has put off."""

    limit: int
    wanted: int
    waiting: int = 0


def allot(shares: Shares, own: str, wish: Wish, seen: Sightings, now: float) -> dict[str, Share]:
    """The entries after a renewal of the process `own`.

    `seen` is `sighted` of these entries. Entries of processes that have vanished are left out.
    """
    others = present({process: share for process, share in shares.items() if process != own}, seen, now)
    used = sum(
        share.mails if now - seen[process].since >= PAUSE else max(share.mails, share.before)
        for process, share in others.items()
    )
    fair = _fair(wish.limit, {process: share.wanted for process, share in others.items()} | {own: wish.wanted})[own]
    last = shares.get(own, _NOTHING)
    mails = max(0, min(fair, wish.limit - used))
    return others | {own: Share(last.renewal + 1, mails, last.mails, wish.wanted, wish.waiting)}


def returned(shares: Shares, own: str) -> dict[str, Share]:
    """The entries after the process `own` has given its share back, or without its entry if it had none before."""
    others = {process: share for process, share in shares.items() if process != own}
    last = shares.get(own, _NOTHING)
    return others | {own: Share(last.renewal + 1, 0, last.mails, 0)} if last.mails else others


def _fair(limit: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """The limit, divided evenly: nobody gets more than wanted, and what some leave is divided among the others."""
    left, fair = limit, {}
    by_modesty = sorted(wanted.items(), key=lambda item: (item[1], item[0]))
    for number, (process, mails) in enumerate(by_modesty):
        fair[process] = min(mails, left // (len(by_modesty) - number))
        left -= fair[process]
    return fair

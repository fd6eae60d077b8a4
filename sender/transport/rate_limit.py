"""A rate limit that holds for the whole installation: every sender process leases a share of it, for seconds.

A share is a number of mails per second. All of them stand in one small document, which a process changes in a
transaction when it has a mail and its own share is some seconds old: it says how much it could use, and takes what
others leave and fairness allows. No share counts on clocks that agree. A process stops by its own clock, counted from
before its transaction. Others count from when they first saw that entry, which is later, and take its share only after
that and a pause. So a process that crashes loses its share, and the limit is never exceeded.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from shared.deadline import Monotonic
from shared.errors import FirepostError

#: A process asks for a share at most this often, in seconds.
PERIOD: Final = 5.0
#: How long a share holds, in seconds: two requests may fail before it ends.
LEASE: Final = 3 * PERIOD
#: A process that hears nothing for this many seconds sends nothing until it does.
LONGEST_ANSWER: Final = 2.0
#: The longest that a mail waits for its turn, in seconds. The turn may come after the share that it was based on.
LONGEST_TURN: Final = 2.0
#: What a share loses is free for others after this many seconds: the answer, the last turns, and the second counted.
PAUSE: Final = LONGEST_ANSWER + LONGEST_TURN + 1.0
#: The part of a share that is used: mails that leave at even intervals may arrive at slightly uneven ones.
USED: Final = 0.92

#: More processes than ever share a limit; an installation's document can't hold more entries.
_MOST_PROCESSES: Final = 1_000

#: Reads the fields of the document (none if there is no document), and writes those that the function returns, in one
#: transaction. Raises `FirepostError`, also if only the answer was lost.
Exchange = Callable[[Callable[[Mapping[str, Any]], Mapping[str, Any]]], None]


class Share(NamedTuple):
    """The entry of a process: its `renewal`s so far, and numbers of mails per second.

    It may use `mails`; before this renewal it could use `before`; and it could make use of `wanted`.
    """

    renewal: int
    mails: int
    before: int
    wanted: int


_NOTHING: Final = Share(0, 0, 0, 0)


class Sighting(NamedTuple):
    """The renewal of another process, and when it was seen first, in monotonic seconds of the one who saw it."""

    renewal: int
    since: float


Shares = Mapping[str, Share]
Sightings = Mapping[str, Sighting]


def read_shares(fields: Mapping[str, Any]) -> dict[str, Share]:
    """The entries of the decoded document; what is no entry counts for nothing."""
    entries = fields.get("shares")
    if not isinstance(entries, Mapping):
        return {}
    shares = ((process, _share(entry)) for process, entry in islice(entries.items(), _MOST_PROCESSES))
    return {process: share for process, share in shares if share is not None}


def _share(entry: object) -> Share | None:
    match entry:
        case {"renewal": int(renewal), "mails": int(mails), "before": int(before), "wanted": int(wanted)}:
            share = Share(renewal, mails, before, wanted)
            return share if min(share) >= 0 else None
    return None


def written_shares(shares: Shares) -> dict[str, Any]:
    """The fields of the document with these entries."""
    return {"shares": {process: share._asdict() for process, share in shares.items()}}


def sighted(shares: Shares, seen: Sightings, now: float) -> dict[str, Sighting]:
    """What is known of the entries, which are seen `now`, after what was `seen` before."""
    return {
        process: known
        if (known := seen.get(process)) is not None and known.renewal == share.renewal
        else Sighting(share.renewal, now)
        for process, share in shares.items()
    }


def allot(shares: Shares, own: str, wanted: int, limit: int, seen: Sightings, now: float) -> dict[str, Share]:
    """The entries after a renewal of the process `own`, which could use `wanted` mails per second of the `limit`.

    `seen` is `sighted` of these entries. Entries of processes that have vanished are left out.
    """
    others = {
        process: share
        for process, share in shares.items()
        if process != own and now - seen[process].since < LEASE + PAUSE
    }
    used = sum(
        share.mails if now - seen[process].since >= PAUSE else max(share.mails, share.before)
        for process, share in others.items()
    )
    fair = _fair(limit, {process: share.wanted for process, share in others.items()} | {own: wanted})[own]
    last = shares.get(own, _NOTHING)
    mails = max(0, min(fair, limit - used))
    return others | {own: Share(last.renewal + 1, mails, last.mails, wanted)}


def _fair(limit: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """The limit, divided evenly: nobody gets more than wanted, and what some leave is divided among the others."""
    left, fair = limit, {}
    by_modesty = sorted(wanted.items(), key=lambda item: (item[1], item[0]))
    for number, (process, mails) in enumerate(by_modesty):
        fair[process] = min(mails, left // (len(by_modesty) - number))
        left -= fair[process]
    return fair


@dataclass(slots=True)
class _Demand:
    """The mails since the last renewal, and whether any had to wait."""

    mails: int = 0
    waited: bool = False

    def per_second(self, limit: int) -> int:
        """What the process could use, as a whole number of mails per second, and one more."""
        return limit if self.waited else min(limit, math.ceil(self.mails / PERIOD) + 1)


class RateLimit:
    """What one process may use of a limit for all. Thread-safe; all times are monotonic seconds.

    A mail passes twice: `wait` admits as many as can be sent soon, before a connection is made for them; and `pace`
    spaces them when they are sent, since connections take different times.
    """

    def __init__(self, exchange: Exchange, process: str, limit: float, clock: Monotonic = time.monotonic) -> None:
        """`process` is a word of its own; `limit` is in mails per second. Above 1, only whole numbers count."""
        self._exchange = exchange
        self._process = process
        self._limit = max(1, int(limit))
        self._per_share = min(1.0, limit) * USED
        self._clock = clock
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._seen: Sightings = {}
        self._mails = 0
        self._ends = self._next_renewal = self._next_turn = self._next_mail = -math.inf
        self._asked: float | None = None
        self._demand = _Demand()

    def wait(self, now: float, patience: float) -> float:
        """Seconds until the mail's turn. The turn is reserved if that is at most `patience` seconds away.

        One of the callers renews the share if it is time for that, and takes as long as Firestore does.
        """
        self._renew_if_due(now)
        now = max(now, self._clock())
        with self._lock:
            self._demand.mails += 1
            mails = self._usable(now)
            if not mails:
                self._demand.waited = True
                return max(PERIOD, patience + 1.0)
            turn = max(now, self._next_turn)
            seconds = turn - now
            self._demand.waited |= seconds > 0
            if seconds <= min(patience, LONGEST_TURN):
                self._next_turn = turn + 1 / (mails * self._per_share)
            return seconds

    def pace(self, now: float) -> float:
        """Seconds until a mail whose turn has come may be handed over; more than `LONGEST_TURN` if it may not now."""
        with self._lock:
            mails = self._usable(now)
            at = max(now, self._next_mail)
            if not mails or at - now > LONGEST_TURN:
                return PERIOD
            self._next_mail = at + 1 / (mails * self._per_share)
            return at - now

    def close(self) -> None:
        """Give the share back, so that others need not wait for its end. Called on SIGTERM."""
        with self._renewing:
            with self._lock:
                if not self._mails:
                    return
                self._mails, self._next_renewal = 0, math.inf
            with suppress(FirepostError):
                self._exchange(self._given_back)

    def _usable(self, now: float) -> int:
        """The share, in mails per second, unless it has ended or its renewal is not heard of."""
        is_unheard = self._asked is not None and now - self._asked > LONGEST_ANSWER
        return 0 if is_unheard or now >= self._ends else self._mails

    def _renew_if_due(self, now: float) -> None:
        with self._lock:
            must_wait, is_due = not self._usable(now), now >= self._next_renewal
        if is_due and self._renewing.acquire(blocking=must_wait):
            try:
                if now >= self._next_renewal:  # nobody else was faster
                    self._renew(max(now, self._clock()))
            finally:
                self._renewing.release()

    def _renew(self, now: float) -> None:
        with self._lock:
            wanted = self._demand.per_second(self._limit) if self._usable(now) else self._limit
            self._asked, self._next_renewal, self._demand = now, now + PERIOD, _Demand()
        proposed: list[int] = []

        def decide(fields: Mapping[str, Any]) -> Mapping[str, Any]:
            shares, read_at = read_shares(fields), self._clock()
            self._seen = sighted(shares, self._seen, read_at)
            allotted = allot(shares, self._process, wanted, self._limit, self._seen, read_at)
            proposed.append(allotted[self._process].mails)
            return written_shares(allotted)

        try:
            self._exchange(decide)
        except FirepostError:
            with self._lock:  # perhaps only the answer was lost: use no more than both shares allow
                self._mails, self._asked = min([self._mails, *proposed]), None
        else:
            with self._lock:
                self._mails, self._ends, self._asked = proposed[-1], now + LEASE, None

    def _given_back(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        shares = read_shares(fields)
        last = shares.get(self._process, _NOTHING)
        return written_shares(shares | {self._process: Share(last.renewal + 1, 0, last.mails, 0)})

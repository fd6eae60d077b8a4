"""Leases the shares of a process: renews them in the document, and says for how long nothing is heard of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import product
from typing import Any, Final

from sender.transport.rate.lines import Lines
from sender.transport.rate.portion import Portion
from sender.transport.rate.shares import (
    LEASE,
    LONGEST_ANSWER,
    PERIOD,
    Ledger,
    Sightings,
    Wish,
    allot,
    present,
    read_ledger,
    returned,
    sighted,
    written_ledger,
)
from shared.deadline import Monotonic
from shared.errors import FirepostError

#: What the limit for all mails is called in the document.
_ALL: Final = "all"

#: Reads the fields of the document (none if there is no document), and writes those that the function returns, in one
#: transaction. Raises `FirepostError`, also if only the answer was lost.
Exchange = Callable[[Callable[[Mapping[str, Any]], Mapping[str, Any]]], None]


class Leases:
    """Renews what `whole` and the portions of `lines` may use. All times are monotonic seconds.

    `lock` guards those two. It is not held during a transaction.
    """

    def __init__(
        self, exchange: Exchange, process: str, whole: Portion, lines: Lines, lock: threading.Lock, clock: Monotonic
    ) -> None:
        """`process` is a word of its own."""
        self._exchange = exchange
        self._process = process
        self._whole = whole
        self._lines = lines
        self._lock = lock
        self._clock = clock
        self._renewing = threading.Lock()
        self._seen: Mapping[str, Sightings] = {}
        self._asked: float | None = None
        self.next_renewal = -math.inf

    def are_unheard(self, now: float) -> bool:
        """Whether the last request has not been answered for too long: its answer may be that others have it all."""
        return self._asked is not None and now - self._asked > LONGEST_ANSWER

    def renew_if_due(self, now: float, must_wait: bool) -> None:
        """Renew all shares if it is time. If another thread does that already, wait for it only if that is a must."""
        if now >= self.next_renewal and self._renewing.acquire(blocking=must_wait):
            try:
                if now >= self.next_renewal:  # nobody else was faster
                    self._renew(max(now, self._clock()))
            finally:
                self._renewing.release()

    def close(self) -> None:
        """Give all shares back, and renew none any more."""
        with self._renewing:
            if self.next_renewal == -math.inf:  # it never had any
                return
            self.next_renewal = math.inf
            with self._lock:
                self._whole.perhaps(0)
            with suppress(FirepostError):
                self._exchange(self._returned)

    def _renew(self, now: float) -> None:
        with self._lock:
            limited = {line.name: line.portion for line in self._lines.limited(now) if line.portion}
            portions: dict[str, Portion] = {_ALL: self._whole} | limited
            wishes = {limit: portion.renew(now) for limit, portion in portions.items()}
            self._asked, self.next_renewal = now, now + PERIOD
        proposals: list[Ledger] = []

        def decide(fields: Mapping[str, Any]) -> Mapping[str, Any]:
            proposals.append(self._renewed(read_ledger(fields), wishes, self._clock()))
            return written_ledger(proposals[-1])

        is_sure = True
        try:
            self._exchange(decide)
        except FirepostError:
            is_sure = False  # perhaps only the answer was lost
        with self._lock:
            self._asked = None
            if is_sure:
                self._grant(portions, proposals[-1], now)
                return
            for ledger, (limit, portion) in product(proposals, portions.items()):
                portion.perhaps(ledger[limit][self._process].mails)

    def _grant(self, portions: Mapping[str, Portion], ledger: Ledger, now: float) -> None:
        for limit, portion in portions.items():
            shares = dict(ledger[limit])
            own = shares.pop(self._process)
            portion.grant(own.mails, now + LEASE, sum(share.waiting for share in shares.values()))

    def _renewed(self, before: Ledger, wishes: Mapping[str, Wish], now: float) -> Ledger:
        """The entries after a renewal; whoever has no wish for a limit gives its share back."""
        self._seen = sighted(before, self._seen, now)
        after = {
            limit: returned(present(shares, self._seen[limit], now), self._process) for limit, shares in before.items()
        }
        for limit, wish in wishes.items():
            after[limit] = allot(before.get(limit, {}), self._process, wish, self._seen.get(limit, {}), now)
        return after

    def _returned(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return written_ledger({limit: returned(shares, self._process) for limit, shares in read_ledger(fields).items()})

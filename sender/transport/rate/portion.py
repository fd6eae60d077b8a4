"""What one process may use of one limit, how much it could use, and the mails that it has put off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from sender.transport.rate.shares import LONGEST_TURN, PERIOD, Wish

#: The part of a share that is used: mails that leave at even intervals may arrive at slightly uneven ones.
USED: Final = 0.92
#: Mails that can't be sent soon are put off for at most this many seconds, since limits and tenants change.
HORIZON: Final = 300
#: They come back faster than they can be sent, so that there is always one to send; some are put off again.
EAGERNESS: Final = 1.25


class Portion:
    """The share of a limit that a process holds, and the mails that it had since the last renewal.

    All times are monotonic seconds.
    """

    def __init__(self, limit: float, random: Callable[[], float]) -> None:
        """`limit` is in mails per second. Above 1, only whole numbers count. `random` is as in `RateLimit`."""
        self._limit = max(1, int(limit))
        self._per_share = min(1.0, limit) * USED
        self._mails = 0
        self._ends = -math.inf
        self._demand = 0
        self._waited = False
        self._others_waiting = 0
        self._waiting = _Waiting()
        self._random = random

    def per_second(self, now: float) -> float:
        """The number of mails per second that may be sent; 0 if there is no share."""
        return self._mails * self._per_share if now < self._ends else 0.0

    def ask(self, waits: bool) -> None:
        """There is a mail, which `waits` because of this limit, or does not."""
        self._demand += 1
        self._waited |= waits

    def put_off(self, now: float) -> float:
        """When a mail comes back that is put off, at random while those that wait are sent, of this process and others.

        In any order, processes that know little of each other would put off too many mails until the same time.
        """
        waiting = self._others_waiting + self._waiting.count(now) + 1
        longest = min(HORIZON, waiting / (self._limit * self._per_share * EAGERNESS))
        at = now + LONGEST_TURN + longest * self._random()
        self._waiting.add(at)
        return at

    def renew(self, now: float) -> Wish:
        """What the process could use, for a renewal; its mails count anew from then on."""
        has_to_wait = self._waited or not self.per_second(now)
        wanted = self._limit if has_to_wait else min(self._limit, math.ceil(self._demand / PERIOD) + 1)
        self._demand, self._waited = 0, False
        return Wish(self._limit, wanted, self._waiting.count(now))

    def grant(self, mails: int, ends: float, others_waiting: int) -> None:
        """The process has a share of so many mails per second, until `ends`; other processes have put mails off."""
        self._mails, self._ends, self._others_waiting = mails, ends, others_waiting

    def perhaps(self, mails: int) -> None:
        """A share may have been granted, as only the answer may be lost: no more is used than both allow."""
        self._mails = min(self._mails, mails)


class _Waiting:
    """Counts the mails that are put off, by the second in which they come back."""

    def __init__(self) -> None:
        self._mails: dict[int, int] = {}
        self._second: float = -math.inf

    def add(self, at: float) -> None:
        """A mail comes back at this time, after the last one for which `count` was called."""
        second = math.floor(at)
        self._mails[second] = self._mails.get(second, 0) + 1

    def count(self, now: float) -> int:
        """The number of mails that come back later. Not called with an earlier time than before."""
        if math.floor(now) > self._second:
            self._second = math.floor(now)
            self._mails = {second: mails for second, mails in self._mails.items() if second > self._second}
        return sum(self._mails.values())

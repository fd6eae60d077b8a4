"""A rate limit that holds for the whole installation: every sender process leases a share of it, for seconds.

All shares stand in one small document (`sender.transport.rate.shares`), which a process changes in a transaction when
it has a mail and its own shares are some seconds old (`sender.transport.rate.leases`): it says how much it could use,
and takes what others leave and fairness allows. A limit per tenant is kept in the same way, in the same transaction.

Within a process, mails wait in one queue. If it is known whose mails they are, each tenant may take a part of its
places, and one part is left for the next tenant: so whoever has ten thousand mails leaves room for who has one. What
finds no place is put off, and comes back while those that wait can be sent.
"""

from __future__ import annotations

import math
import random
import threading
import time
from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Final, NamedTuple

from sender.transport.rate.leases import Exchange, Leases
from sender.transport.rate.lines import Line, Lines
from sender.transport.rate.portion import Portion
from sender.transport.rate.shares import LONGEST_TURN, PERIOD
from shared.deadline import Monotonic

#: The most mails of a process that wait for their turns while they are claimed. A crash leaves them behind.
_QUEUE: Final = 8
#: A process is crowded if more mails wait than it can send in so many seconds, or than this number.
_CROWDED_SECONDS: Final = 3.0
_CROWDED_MAILS: Final = 32
#: While it is, so many more are claimed, to see whose they are, and to put them off if that tenant has no place.
_PUT_OFF_AT_ONCE: Final = 4
#: The most that it takes at a time.
MOST_CLAIMED: Final = _QUEUE + _PUT_OFF_AT_ONCE


class Turn(NamedTuple):
    """What a mail has to do about the limit.

    It has its turn in so many seconds (`granted`), or else it asks again after them: `soon`, as its tenant has no share
    yet, or after it has been put off.
    """

    seconds: float
    granted: bool
    soon: bool = False


class RateLimit:
    """What one process may use of a limit for all. Thread-safe; all times are monotonic seconds.

    A mail passes twice: `turn` admits as many as can be sent soon, before a connection is made for them; and `pace`
    spaces them when they are sent, since connections take different times.
    """

    def __init__(
        self,
        exchange: Exchange,
        process: str,
        limit: float,
        *,
        by_tenant: bool = False,
        tenant_limit: float | None = None,
        clock: Monotonic = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`process` is a word of its own; limits are in mails per second. Above 1, only whole numbers count.

        Without `by_tenant`, nobody knows whose a mail is. `random` returns a number from 0 to 1.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._whole = Portion(limit, random)
        self._lines = Lines(by_tenant, lambda: Portion(tenant_limit, random) if tenant_limit else None)
        self._leases = Leases(exchange, process, self._whole, self._lines, self._lock, clock)
        self._next_turn = -math.inf
        self._is_crowded = False
        self._planned: list[float] = []  # when mails are handed over, in order

    def turn(self, now: float, patience: float, tenant: str = "") -> Turn:
        """The turn of a mail of this tenant, granted if it is at most `patience` seconds away.

        One of the callers renews the shares if it is time for that, and takes as long as Firestore does.
        """
        with self._lock:
            line = self._lines.of(tenant, now)
            must_wait = not min(self._per_second(line, now))
        self._leases.renew_if_due(now, must_wait)
        now = max(now, self._clock())
        with self._lock:
            return self._turn(line, now, min(patience, LONGEST_TURN))

    def capacity(self, waiting: int) -> int:
        """How many mails may be claimed for their turns, while so many wait that are not claimed.

        Those go on waiting, in the order in which they came, unless there are too many of them.
        """
        with self._lock:
            whole = self._whole.per_second(self._clock())
            self._is_crowded = waiting > min(_CROWDED_MAILS, _CROWDED_SECONDS * whole)
            return math.ceil(self._queue(whole)) + (_PUT_OFF_AT_ONCE if self._is_crowded else 0)

    def pace(self, now: float, tenant: str = "") -> float:
        """Seconds until a mail whose turn has come may be handed over; more than `LONGEST_TURN` if it may not now."""
        with self._lock:
            line = self._lines.of(tenant, now)
            whole, own = self._per_second(line, now)
            if not whole or not own:
                return PERIOD
            at = self._gap(now, max(now, line.next_mail), 1 / whole)
            if at - now > LONGEST_TURN:
                return PERIOD
            insort(self._planned, at)
            line.next_mail = at + 1 / own
            return at - now

    def close(self) -> None:
        """Give the shares back, so that others need not wait for their end. Called after the last mail."""
        self._leases.close()

    def _per_second(self, line: Line, now: float) -> tuple[float, float]:
        """What the limit for all and that of the tenant allow this process, unless its last request is not answered."""
        if self._leases.are_unheard(now):
            return 0.0, 0.0
        return self._whole.per_second(now), line.per_second(now)

    @staticmethod
    def _queue(whole: float) -> float:
        """How many mails may wait for their turns if so many can be sent a second."""
        return max(1.0, min(_QUEUE, LONGEST_TURN * whole))

    def _turn(self, line: Line, now: float, patience: float) -> Turn:
        whole, own = self._per_second(line, now)
        if not whole:
            self._whole.ask(waits=True)
            return Turn(max(PERIOD, self._whole.put_off(now) - now), granted=False)
        has_place = not self._is_crowded or line.waiting(now) < self._lines.places(self._queue(whole), now)
        self._whole.ask(waits=self._next_turn > now or not has_place)
        at = max(now, self._next_turn, line.next_turn)
        if line.portion:
            line.portion.ask(waits=line.next_turn > now)
            if not own:
                return Turn(max(0.1, self._leases.next_renewal - now), granted=False, soon=True)
        if at - now > patience or not has_place:
            return Turn(self._put_off(line, whole, own, now) - now, granted=False)
        self._next_turn = max(now, self._next_turn) + 1 / whole
        line.next_turn = at + 1 / own
        line.turns.append(at)
        return Turn(at - now, granted=True)

    def _put_off(self, line: Line, whole: float, own: float, now: float) -> float:
        """When the mail comes back: when those that were put off before it have had their turns, or its tenant's have.

        More may come back then than can be sent: nobody knows yet who else will have mails.
        """
        tenants = self._lines.active(now)
        if line.portion and own < whole / tenants:
            return line.portion.put_off(now)
        in_order = self._whole.put_off(now)
        return min(in_order, line.put_off(whole / tenants, now)) if tenants > 1 else in_order

    def _gap(self, now: float, earliest: float, seconds: float) -> float:
        """The first time with so many seconds to every mail that is planned already. A tenant's limit leaves gaps."""
        del self._planned[: bisect_right(self._planned, now - seconds)]
        at = earliest
        for planned in self._planned[bisect_right(self._planned, earliest - seconds) :]:
            if planned >= at + seconds:
                break
            at = planned + seconds
        return at

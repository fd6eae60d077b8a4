"""The mails of each tenant, as they come to one process: all wait in one queue, in which nobody takes all places."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sender.transport.rate.portion import EAGERNESS, HORIZON, Portion
from sender.transport.rate.shares import LEASE, LONGEST_TURN, PERIOD

#: More tenants than ever have mail within `HORIZON`. Those that come then count as one.
_MOST_LINES: Final = 10_000
#: Of so many tenants, a renewal gets shares.
_MOST_SHARES: Final = 200


@dataclass(slots=True)
class Line:
    """The mails of one tenant. Times are monotonic seconds."""

    name: str
    portion: Portion | None
    asked: float = -math.inf
    next_turn: float = -math.inf
    next_mail: float = -math.inf
    next_return: float = -math.inf
    turns: deque[float] = field(default_factory=deque)

    def per_second(self, now: float) -> float:
        """What the tenant's own limit allows this process."""
        return self.portion.per_second(now) if self.portion else math.inf

    def waiting(self, now: float) -> int:
        """The number of its mails that wait for their turns."""
        while self.turns and self.turns[0] <= now:
            self.turns.popleft()
        return len(self.turns)

    def put_off(self, per_second: float, now: float) -> float:
        """When its next mail comes back, if so many of its mails per second can be sent."""
        at = max(self.next_return, now + LONGEST_TURN) + 1 / (per_second * EAGERNESS)
        self.next_return = min(at, now + HORIZON)
        return self.next_return


class Lines:
    """The lines of all tenants that had mail lately."""

    def __init__(self, by_tenant: bool, portion: Callable[[], Portion | None]) -> None:
        """Without `by_tenant`, there is one for all. `portion` makes that of a tenant's limit, if there is one."""
        self._by_tenant = by_tenant
        self._portion = portion
        self._lines: dict[str, Line] = {}
        self._active: dict[str, float] = {}  # when each of them last had a mail, the latest last

    def of(self, tenant: str, now: float) -> Line:
        """The tenant's line, which has a mail `now`."""
        name = _name(tenant) if self._by_tenant else ""
        if name not in self._lines and len(self._lines) >= _MOST_LINES:
            name = _name("")
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(name, self._portion())
        line.asked = now
        self._active.pop(name, None)
        self._active[name] = now
        return line

    def active(self, now: float) -> int:
        """The number of tenants that have mails."""
        while self._active and now - self._active[oldest := next(iter(self._active))] > PERIOD:
            del self._active[oldest]
        return max(1, len(self._active))

    def places(self, queue: float, now: float) -> float:
        """How many of the places in the queue a tenant may take: one part is left for the next tenant to come."""
        return max(1.0, queue / (self.active(now) + self._by_tenant))

    def limited(self, now: float) -> Iterator[Line]:
        """The lines whose shares are to be renewed; the others lose theirs. Forgets those that are of no use."""
        for name, line in list(self._lines.items()):
            if now - line.asked > HORIZON:
                del self._lines[name]
        by_need = sorted(self._lines.values(), key=lambda line: (not line.per_second(now), line.asked), reverse=True)
        for number, line in enumerate(by_need):
            if line.portion and (number >= _MOST_SHARES or now - line.asked > LEASE):
                line.portion.perhaps(0)
            else:
                yield line


def _name(tenant: str) -> str:
    """What a tenant is called in the document, which says nothing about it and has a limited length."""
    return "tenant-" + hashlib.sha256(tenant.encode(errors="replace")).hexdigest()[:16]

"""How many connections a process uses to one mail server: few at first, then as many as the server takes. Pure.

Nobody knows the server's limit: providers change it, and other instances may use the same account. So it is found out,
as TCP finds out how much a network takes (RFC 5681): the limit grows while all connections are in use and the server
accepts more, and falls as soon as the server says that it is too much. What was found is kept for a while, and then
tried again with one connection more.
"""

from __future__ import annotations

import math
from typing import Final

#: The limit at first: what every server takes.
FIRST: Final = 2
#: How long, in seconds, a limit that was found is kept before one connection more is tried; and how long if the server
#: did not say that there were too many: perhaps it was only restarted.
HOLD_SECONDS: Final = 300.0
UNSURE_SECONDS: Final = 30.0


class ConnectionLimit:
    """The limit, from 1 to `most`. Its user's lock must be held. All times are monotonic seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Begin anew: the server was out, so whatever was found may have been due to that."""
        self._value = min(FIRST, self._most)
        self._lowered_at = self._held_until = -math.inf

    @property
    def value(self) -> int:
        """How many connections may be in use now."""
        return self._value

    def accepted(self, now: float, in_use: int, are_open: int) -> bool:
        """The server took a mail, or opened a session, while so many connections were in use and open.

        Returns whether the limit grew. Above a limit that was found, the last connection must have been accepted before
        the next one is tried.
        """
        is_needed = in_use >= self._value < self._most
        was_found = self._lowered_at > -math.inf
        if was_found and (now < self._held_until or are_open < self._value):
            return False
        self._value += is_needed
        return is_needed

    def opened(self, began: float, are_open: int) -> None:
        """A session was opened, as one of so many.

        If it `began` before the limit fell, the server takes more than it seemed then.
        """
        if began < self._lowered_at:
            self._value = min(max(self._value, are_open), self._most)

    def refused(self, now: float, are_open: int, with_words: bool) -> None:
        """The server refused a further connection while so many were open: these it takes.

        `with_words`: it said that there were too many.
        """
        self._lower(max(1, min(self._value, are_open)), now, HOLD_SECONDS if with_words else UNSURE_SECONDS)

    def throttled(self, began: float, now: float) -> None:
        """The server wants less, and said so to a mail whose turn `began` then; at most once per round of mails."""
        if began >= self._lowered_at:
            self._lower(max(1, self._value // 2), now, HOLD_SECONDS)

    def _lower(self, value: int, now: float, seconds: float) -> None:
        self._value, self._lowered_at, self._held_until = value, now, now + seconds

"""A mail is claimed only when there is, or is about to be, a connection for it: until then its message waits here.

What waits here holds nothing: it has no claim, and leaves at once when the sender shuts down.
"""

from __future__ import annotations

import threading

from shared.delivery.model import Reason


class ClaimSlots:
    """So many mails may be claimed and not yet sent. Safe to use from several threads."""

    def __init__(self, count: int, wait_seconds: float) -> None:
        """`wait_seconds` is how long a mail waits for a place at most."""
        self._free = count
        self._wait_seconds = wait_seconds
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self) -> Reason | None:
        """Wait for a place and take it; None if that worked, otherwise the reason why there is none."""
        with self._changed:
            if not self._free and not self._closed:
                self._changed.wait_for(lambda: self._free or self._closed, self._wait_seconds)
            if self._closed:
                return Reason.RELEASED
            if not self._free:
                return Reason.BUSY
            self._free -= 1
            return None

    def release(self) -> None:
        """The mail has been sent, or will not be."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def close(self) -> None:
        """Give nobody a place any more; those who wait learn it at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

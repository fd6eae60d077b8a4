"""Limits the mails that are claimed and not yet sent to what the connections can take.

Further messages wait here, before their claim, and stop waiting at once when the sender shuts down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from shared.delivery.model import Reason


class ClaimSlots:
    """A counting semaphore that can be closed. Thread-safe."""

    def __init__(self, count: Callable[[int], int], wait_seconds: float) -> None:
        """`count(waiting)` mails may hold a slot at a time, while so many wait for one, at most `wait_seconds`.

        The number may change. If it has grown, that is noticed when the next mail comes, or a slot is returned.
        """
        self._count = count
        self._held = 0
        self._waiting = 0
        self._wait_seconds = wait_seconds
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self) -> Reason | None:
        """Wait for a slot and take it. Returns None, or the reason if there is no slot."""
        with self._changed:
            self._waiting += 1
            has_slot = self._changed.wait_for(lambda: self._is_free() or self._closed, self._wait_seconds)
            self._waiting -= 1
            if self._closed:
                return Reason.RELEASED
            if not has_slot:
                return Reason.BUSY
            self._held += 1
            return None

    def release(self) -> None:
        """Return a slot: the mail was sent, or will not be."""
        with self._changed:
            self._held -= 1
            self._changed.notify(max(1, self._count(self._waiting) - self._held))

    def _is_free(self) -> bool:
        return self._held < self._count(self._waiting - 1)  # besides this one

    def close(self) -> None:
        """Give out no more slots and wake all waiting threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

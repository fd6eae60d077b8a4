"""The end of pushing a backlog."""

from __future__ import annotations

import gc
import threading
import time

from local.backends.embedded.backlog import Backlog, Item, Lease
from local.backends.embedded.posting import Request
from local.backends.embedded.pushing import Pusher


class Endless(Backlog[str]):
    """Always has another item, due at once."""

    def take(self, limit: int, now: float, seconds: float) -> list[Lease[str]]:
        return [Lease(1, Item("item"), 1)]

    def next_due(self) -> float:
        return time.monotonic()


def test_what_is_due_while_it_ends_is_left() -> None:
    """A delivery that began then would never run, and Python would say so later, in the middle of anything."""
    lock = threading.Lock()
    pusher = Pusher(
        Endless(),
        lock,
        request_for=lambda lease: Request("http://127.0.0.1:9/", {}, b""),
        accepts=lambda status: True,
        timeout=lambda: 1.0,
    )
    with lock:
        pusher.wake()
    pusher.stop()
    gc.collect()

"""Group commit: requests of concurrent threads share a round trip.

There is no background thread. A caller that finds no open batch leads a new one. A single item is executed at once.
While another batch is in flight, or when the previous batch had several items, the leader waits a few milliseconds so
that others can join. They wait for the leader, and each gets its own answer.

Every waiting item has a caller that waits for it. A service that finishes its requests, as both do at SIGTERM, has
therefore flushed everything.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import Unavailable

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

#: Time limit of one request to Google, in seconds; a healthy one takes a fraction of that.
REQUEST_SECONDS = 10.0
#: Firestore accepts 10 MiB per request, Pub/Sub 10 MB; the rest is headroom for overhead.
MAX_REQUEST_BYTES = 9 * 1024 * 1024
#: Seconds that a batch always waits when the previous one had several items, since more are likely to come.
_LINGER_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Batching:
    """The maximum number of items in a batch, and how long (seconds) the first of them waits for others."""

    size: int = 100
    wait_seconds: float = 0.05


class Batcher(Generic[_Item, _Answer]):
    """Executes items together that threads submit at about the same time."""

    def __init__(
        self, execute: Callable[[Sequence[_Item]], Sequence[_Answer | Exception]], batching: Batching | None = None
    ) -> None:
        """`execute` returns one answer per item, in the same order, within a bounded time.

        An exception among the answers is raised to that item's caller; an exception that `execute` raises, to all
        callers.
        """
        self._execute = execute
        self._batching = batching or Batching()
        self._changed = threading.Condition()
        self._open: _Batch[_Item, _Answer] | None = None
        self._in_flight = 0
        self._last_was_shared = False

    def submit(self, item: _Item, key: str | None = None) -> _Answer:
        """Execute the item, possibly with others, and return its answer.

        Items with the same key never share a batch, unless the key is None. Raises the item's exception or that of
        `execute`.
        """
        with self._changed:
            batch, place, leads = self._join(item, key)
        if leads:
            self._lead(batch)
        else:
            batch.done.wait()
        return batch.answer(place)

    def _join(self, item: _Item, key: str | None) -> tuple[_Batch[_Item, _Answer], int, bool]:
        """The batch that takes the item, the item's place in it, and whether the caller leads it."""
        batch = self._open
        if leads := batch is None or not batch.takes(key):
            self._close(batch)
            batch = self._open = _Batch()
        place = batch.add(item, key)
        if place + 1 >= self._batching.size:
            self._close(batch)
        return batch, place, leads

    def _close(self, batch: _Batch[_Item, _Answer] | None) -> None:
        """Let no more items join the batch, and wake a leader that waits for them."""
        if batch is not None and batch is self._open:
            self._open = None
            self._changed.notify_all()

    def _lead(self, batch: _Batch[_Item, _Answer]) -> None:
        """Execute the batch. Whatever happens, its callers are released and nobody joins it afterwards."""
        try:
            self._depart(batch)
            try:
                batch.answers = self._execute(batch.items)
            except Exception as error:
                batch.failure = error
            finally:
                with self._changed:
                    self._in_flight -= 1
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._close(batch)
            batch.done.set()

    def _depart(self, batch: _Batch[_Item, _Answer]) -> None:
        """Wait for others as long as that is worthwhile, then close the batch."""
        with self._changed:
            if self._last_was_shared:
                self._changed.wait_for(
                    lambda: batch is not self._open, min(_LINGER_SECONDS, self._batching.wait_seconds)
                )
            self._changed.wait_for(lambda: batch is not self._open or self._in_flight == 0, self._batching.wait_seconds)
            self._last_was_shared = len(batch.items) > 1
            self._close(batch)
            self._in_flight += 1


class _Batch(Generic[_Item, _Answer]):
    """Items executed together, and their answers once `done` is set."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.answers: Sequence[_Answer | Exception] = ()
        self.failure: Exception = Unavailable("The request was interrupted.")
        self.done = threading.Event()
        self._keys: set[str | None] = set()

    def takes(self, key: str | None) -> bool:
        return key is None or key not in self._keys

    def add(self, item: _Item, key: str | None) -> int:
        self.items.append(item)
        self._keys.add(key)
        return len(self.items) - 1

    def answer(self, place: int) -> _Answer:
        """The answer of one item. Raises the item's error, or else the batch's."""
        if not self.answers and len(self.items) == 1:
            raise self.failure
        if not self.answers:
            raise copy.copy(self.failure) from self.failure  # a copy per thread: each sets its own traceback
        answer = self.answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer


def in_requests(items: Iterable[_Item], size: Callable[[_Item], int], most: int) -> Iterator[list[_Item]]:
    """Split the items, in order, into as few requests as `most` items each and their sizes (bytes) allow.

    An oversized item travels alone.
    """
    request: list[_Item] = []
    total = 0
    for item in items:
        length = size(item)
        if request and (len(request) == most or total + length > MAX_REQUEST_BYTES):
            yield request
            request, total = [], 0
        request.append(item)
        total += length
    if request:
        yield request

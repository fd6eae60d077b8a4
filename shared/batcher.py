"""Group commit: requests of concurrent threads travel together.

There is no thread of its own. The first caller to find no open batch leads one. A lone item is executed at once. While
others are under way, or where the batch before had several items, the leader waits some milliseconds so that others can
join. They wait for the leader, and each gets its own answer.

Nothing is ever left behind: whatever waits here has its caller waiting for it, so a service that lets its requests
finish, as both do at SIGTERM, has flushed everything.
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

#: Seconds that a single request to Google may take; a healthy one takes a fraction of that.
REQUEST_SECONDS = 10.0
#: Firestore takes 10 MiB in a request, Pub/Sub 10 MB; the rest is for what surrounds the items.
MAX_REQUEST_BYTES = 9 * 1024 * 1024
#: Seconds that a batch waits for others in any case where the one before had several items: more are to be expected.
_COMPANY_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Batching:
    """How many items share a batch at most, and how long (seconds) the first of them waits for others."""

    size: int = 100
    wait_seconds: float = 0.05


class Batcher(Generic[_Item, _Answer]):
    """Lets items that threads submit at about the same time be executed together."""

    def __init__(
        self, execute: Callable[[Sequence[_Item]], Sequence[_Answer | Exception]], batching: Batching | None = None
    ) -> None:
        """`execute` returns the answers in the order of the items, within a bounded time.

        An exception among the answers is raised to the caller whose answer it is; one that `execute` raises, to all.
        """
        self._execute = execute
        self._batching = batching or Batching()
        self._changed = threading.Condition()
        self._open: _Batch[_Item, _Answer] | None = None
        self._under_way = 0
        self._had_company = False

    def submit(self, item: _Item, key: str | None = None) -> _Answer:
        """Have the item executed, and return its answer.

        No two items of a batch have the same key, unless it is None. Raises what `execute` has raised or answered.
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
        """Let nothing more join the batch; a leader that waits for others need not wait any longer."""
        if batch is not None and batch is self._open:
            self._open = None
            self._changed.notify_all()

    def _lead(self, batch: _Batch[_Item, _Answer]) -> None:
        """Execute the batch. Whatever happens, nobody goes on waiting for it, or joins it."""
        try:
            self._depart(batch)
            try:
                batch.answers = self._execute(batch.items)
            except Exception as error:
                batch.failure = error
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._close(batch)
            batch.done.set()

    def _depart(self, batch: _Batch[_Item, _Answer]) -> None:
        """Wait for others while there is reason to."""
        with self._changed:
            if self._had_company:
                self._changed.wait_for(
                    lambda: batch is not self._open, min(_COMPANY_SECONDS, self._batching.wait_seconds)
                )
            self._changed.wait_for(lambda: batch is not self._open or self._under_way == 0, self._batching.wait_seconds)
            self._had_company = len(batch.items) > 1
            self._close(batch)
            self._under_way += 1


class _Batch(Generic[_Item, _Answer]):
    """Items that go together, and their answers once `done` is set."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.answers: Sequence[_Answer | Exception] = ()
        self.failure: Exception = Unavailable("The request was broken off.")
        self.done = threading.Event()
        self._keys: set[str | None] = set()

    def takes(self, key: str | None) -> bool:
        return key is None or key not in self._keys

    def add(self, item: _Item, key: str | None) -> int:
        self.items.append(item)
        self._keys.add(key)
        return len(self.items) - 1

    def answer(self, place: int) -> _Answer:
        """Raises the item's error if it has one, otherwise the batch's."""
        if not self.answers and len(self.items) == 1:
            raise self.failure
        if not self.answers:
            raise copy.copy(self.failure) from self.failure  # one for each thread: a traceback belongs to one
        answer = self.answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer


def in_requests(items: Iterable[_Item], size: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    """The items in their order, in as few requests as their sizes (bytes) allow; a huge item gets one of its own."""
    request: list[_Item] = []
    total = 0
    for item in items:
        if request and total + size(item) > MAX_REQUEST_BYTES:
            yield request
            request, total = [], 0
        request.append(item)
        total += size(item)
    if request:
        yield request

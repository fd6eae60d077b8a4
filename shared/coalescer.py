"""The work of many threads done together: group commit.

There is no thread of its own, and no fixed delay. The first caller to find nothing to join leads: while nothing else is
under way, it begins at once; else it waits some milliseconds, or until what is under way has ended, for others to come
along. They wait for the leader, and each gets its own answer.

So nothing is ever left behind: whatever waits here has its caller waiting for it, and a service that lets its requests
under way end, as both do at SIGTERM, has flushed it all.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from shared.errors import Unavailable

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

#: Seconds for which a single request is given time; a healthy Google answers in a fraction of it.
REQUEST_SECONDS = 10.0
#: Firestore takes 10 MiB in a request, Pub/Sub 10 MB; the rest is for what is around the items.
MAX_REQUEST_BYTES = 9 * 1024 * 1024
#: Requests of a kind that may be under way at a time. When Google is slow, batches grow instead.
MAX_UNDER_WAY = 8
#: Seconds for which a batch waits for one of those to end.
QUEUE_SECONDS = 5.0
_MARGIN_SECONDS = 5.0
#: Seconds after which somebody who waits looks whether the item can be taken back.
TAKE_BACK_SECONDS = 0.25


class Closed(Unavailable):
    """Nothing was begun, and nothing will be: the service is shutting down."""


class Coalescer(Generic[_Item, _Answer]):
    """Lets items that threads submit at about the same time be carried out together."""

    def __init__(
        self,
        carry_out: Callable[[Sequence[_Item]], Sequence[_Answer | Exception]],
        most: Callable[[], int],
        wait_seconds: float,
        *,
        at_once: int = MAX_UNDER_WAY,
        queue_seconds: float = QUEUE_SECONDS,
        work_seconds: float = REQUEST_SECONDS,
        take_back: Callable[[_Item], _Answer | None] | None = None,
    ) -> None:
        """`carry_out` gives the answers in the order of the items; an error is raised to the one whose answer it is.

        What it raises itself is raised to all of them. `most` tells how many items may go together, now. `at_once`
        batches may be under way; for one of them to end, others wait `queue_seconds`, and one takes `work_seconds` at
        most. With `take_back`, who waits for an answer asks every now and then for one of another kind.
        """
        self._carry_out = carry_out
        self._most = most
        self._wait_seconds = wait_seconds
        self._at_once = at_once
        self._queue_seconds = queue_seconds
        # later than the leader gives up
        self._answer_seconds = queue_seconds + work_seconds + _MARGIN_SECONDS
        self._take_back = take_back
        self._changed = threading.Condition()
        self._open: _Batch[_Item, _Answer] | None = None
        self._under_way = 0
        self._closed = False

    def submit(self, item: _Item, key: str | None = None, size: int = 0) -> _Answer:
        """Have the item carried out, and give its answer.

        No two items of a batch have the same key, unless it is None; their sizes together stay below
        `MAX_REQUEST_BYTES`, where there is more than one. Raises `Unavailable` when there was no getting through, or no
        answer, and `Closed` after `close`.
        """
        with self._changed:
            batch, place, leads = self._join(item, key, size)
        if leads:
            self._lead(batch)
        elif (answer := self._waited(batch, item)) is not None:
            return answer
        return batch.answer(place)

    def close(self) -> None:
        """Let no batch depart any more; who waits for that is told at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _waited(self, batch: _Batch[_Item, _Answer], item: _Item) -> _Answer | None:
        """Wait until the batch is done; an answer comes back that was taken meanwhile."""
        end = time.monotonic() + self._answer_seconds
        pause = self._answer_seconds if self._take_back is None else TAKE_BACK_SECONDS
        while not batch.done.wait(min(pause, self._answer_seconds)):
            if self._take_back is not None and (answer := self._take_back(item)) is not None:
                return answer
            if time.monotonic() >= end:
                raise Unavailable("No answer came in time.")
        return None

    def _join(self, item: _Item, key: str | None, size: int) -> tuple[_Batch[_Item, _Answer], int, bool]:
        """The batch that takes the item, its place there, and whether it is the first, who leads."""
        batch = self._open
        if leads := batch is None or not batch.takes(key, size):
            self._close(batch)
            batch = self._open = _Batch()
        place = batch.add(item, key, size)
        if place + 1 >= self._most():
            self._close(batch)
        return batch, place, leads

    def _close(self, batch: _Batch[_Item, _Answer] | None) -> None:
        """Let nothing more join the batch; a leader that waits for company need not wait any longer."""
        if batch is not None and batch is self._open:
            self._open = None
            self._changed.notify_all()

    def _lead(self, batch: _Batch[_Item, _Answer]) -> None:
        """Carry the batch out. Whatever happens, nobody goes on waiting for it, or joins it."""
        try:
            hindrance = self._hindrance(batch)
            if hindrance is None:
                self._make_request(batch)
            else:
                batch.failure = hindrance
        finally:
            with self._changed:
                self._close(batch)
            batch.done.set()

    def _hindrance(self, batch: _Batch[_Item, _Answer]) -> Unavailable | None:
        """Wait for company while there is reason to, and for a place among those under way; why there is none."""
        with self._changed:
            self._changed.wait_for(
                lambda: batch is not self._open or self._under_way == 0 or self._closed, self._wait_seconds
            )
            self._changed.wait_for(lambda: self._under_way < self._at_once or self._closed, self._queue_seconds)
            if self._closed:
                return Closed("The service is shutting down.")
            if self._under_way >= self._at_once:
                return Unavailable(f"{self._at_once} batches are under way, and none ends in time.")
            self._close(batch)
            self._under_way += 1
            return None

    def _make_request(self, batch: _Batch[_Item, _Answer]) -> None:
        try:
            batch.answers = self._carry_out(batch.items)
        except Exception as error:
            batch.failure = error
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


class _Batch(Generic[_Item, _Answer]):
    """Items that go together, and what came of them once `done` is set."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.answers: Sequence[_Answer | Exception] = ()
        self.failure: Exception = Unavailable("The request was broken off.")
        self.done = threading.Event()
        self._keys: set[str | None] = set()
        self._bytes = 0

    def takes(self, key: str | None, size: int) -> bool:
        return self._bytes + size <= MAX_REQUEST_BYTES and (key is None or key not in self._keys)

    def add(self, item: _Item, key: str | None, size: int) -> int:
        self.items.append(item)
        self._keys.add(key)
        self._bytes += size
        return len(self.items) - 1

    def answer(self, place: int) -> _Answer:
        """Raises the item's error if it has one, and else what was wrong with the whole."""
        if not self.answers and len(self.items) == 1:
            raise self.failure
        if not self.answers:
            raise copy.copy(self.failure) from self.failure  # one for each thread: a traceback belongs to one
        answer = self.answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer

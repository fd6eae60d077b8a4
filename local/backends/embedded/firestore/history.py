"""The recent past: the changes of the last hour, and the documents as they were before them.

Reads in the past (`read_time`) and transactions, which read all documents as of one moment, stand on it.
https://firebase.google.com/docs/firestore/understand-reads-writes-scale#read_operations
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from local.backends.embedded.failure import aborted
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.documents import Change, Documents
from local.backends.embedded.firestore.index import Entry, FieldIndex
from local.backends.embedded.firestore.names import collection_of
from local.backends.embedded.firestore.protos import Document

#: Google keeps old versions for an hour.
KEPT_MICROSECONDS = 3600 * 1_000_000
#: What the old versions may take of this process's memory.
KEPT_BYTES = 64 * 1024 * 1024
#: What a change takes beside its old document.
_CHANGE_BYTES = 500


class History:
    """The newest changes to `documents`: at most an hour's, and at most `KEPT_BYTES`."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._changes: deque[tuple[int, int, Change]] = deque()  # time, bytes, change
        self._bytes = 0
        self._forgotten = 0  # the time of the newest change that is not kept any more

    def add(self, changes: Sequence[Change], time: int) -> None:
        """Note the changes of a commit at `time` (microseconds since the epoch), which is later than all before."""
        for change in changes:
            size = _CHANGE_BYTES if change.old is None else _CHANGE_BYTES + change.old.ByteSize()
            self._changes.append((time, size, change))
            self._bytes += size
        while self._changes and (self._bytes > KEPT_BYTES or self._changes[0][0] < time - KEPT_MICROSECONDS):
            self._forgotten, size, _ = self._changes.popleft()
            self._bytes -= size

    def after(self, time: int) -> list[Change]:
        """The changes after a time (microseconds since the epoch), newest first; ABORTED if it does not go that far."""
        if not self.reaches(time):
            raise aborted()
        return [change for _, _, change in takewhile(lambda kept: kept[0] > time, reversed(self._changes))]

    def reaches(self, time: int) -> bool:
        """Whether all changes after a time (microseconds since the epoch) are known."""
        return time >= self._forgotten


class Past:
    """The documents as of `time` (microseconds since the epoch); see `View`.

    Each use looks at the changes since the last one, and is ABORTED if the history does not go that far back any more.
    """

    def __init__(self, history: History, time: int) -> None:
        self._history = history
        self._known_until = time
        self._old: dict[str, dict[str, Document | None]] = {}

    def get(self, name: str) -> Document | None:
        """See `View`."""
        collection = collection_of(name)
        old = self._replaced(collection)
        return old[name] if name in old else self._history.documents.get(name)

    def collections(self) -> Iterator[str]:
        """See `View`."""
        self._catch_up()
        for collection in {*self._history.documents.collections(), *self._old}:
            if next(self.members(collection), None) is not None:
                yield collection

    def members(self, collection: str) -> Iterator[Document]:
        """See `View`."""
        old = self._replaced(collection)
        yield from (document for document in old.values() if document is not None)
        yield from (each for each in self._history.documents.members(collection) if each.name not in old)

    def entries(self, collection: str, path: fields.Path, start: tuple[Any, ...]) -> Iterator[Entry]:
        """See `View`."""
        old = self._replaced(collection)
        now = self._history.documents.entries(collection, path, start)
        if not old:
            return now
        before = FieldIndex(path, (document for document in old.values() if document is not None))
        return heapq.merge((entry for entry in now if entry[-1] not in old), before.since(start))

    def _replaced(self, collection: str) -> dict[str, Document | None]:
        """The documents of the collection that have changed since, as they were."""
        self._catch_up()
        return self._old.get(collection, {})

    def _catch_up(self) -> None:
        for change in reversed(self._history.after(self._known_until)):
            self._old.setdefault(collection_of(change.name), {}).setdefault(change.name, change.old)
            self._known_until = change.time.ToMicroseconds()

"""The store: all documents, and the commits that change them: plain objects, guarded by their owner's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.failure import Failure, invalid
from local.backends.embedded.firestore import values, writes
from local.backends.embedded.firestore.documents import Change, Documents, View
from local.backends.embedded.firestore.history import KEPT_MICROSECONDS, History, Past
from local.backends.embedded.firestore.protos import Document, Write, WriteResult

Watcher = Callable[[Sequence[Change]], None]


class Clock:
    """Unique times in microseconds since the epoch; `last` is the newest."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self._wall = wall
        self.last = 0

    def tick(self) -> Timestamp:
        """A time after all earlier ones."""
        self.last = max(self._wall(), self.last + 1)
        timestamp = Timestamp()
        timestamp.FromMicroseconds(self.last)
        return timestamp


class Store:
    """The documents, the clock that orders their changes, and the observers of changes."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self.documents = Documents()
        self.history = History(self.documents)
        self.clock = Clock(wall)
        self.watchers: list[Watcher] = []

    def commit(self, batch: Sequence[Write]) -> tuple[list[WriteResult], Timestamp]:
        """Apply all writes (see `writes.check_together`), or none; returns their results and the commit time.

        Raises the error of a failed precondition, and INVALID_ARGUMENT if a document becomes too big.
        """
        now = self.clock.tick()
        staged: dict[str, Document | None] = {}
        effects = [self._stage(write, staged, now) for write in batch]
        changes = [change for name in staged if (change := self._change(name, staged, now)) is not None]
        for change in changes:
            self.documents.put(change.name, change.new)
        if changes:
            self.history.add(changes, self.clock.last)
            for watcher in self.watchers:
                watcher(changes)
        return [_result(name, staged, effect) for name, effect in effects], now

    def past(self, time: Timestamp) -> View:
        """The documents as of `time`.

        Raises INVALID_ARGUMENT for the future and for fractions of a microsecond, FAILED_PRECONDITION if it is too long
        ago.
        """
        self.clock.tick()  # no commit from now on has a time that is not in the future
        now, wanted = self.clock.last, time.ToMicroseconds()
        if time.nanos % 1000:
            raise invalid("timestamp cannot have more than microseconds precision")
        if wanted > now:
            raise invalid("The requested 'read_time' cannot be in the future.")
        if wanted < now - KEPT_MICROSECONDS or not self.history.reaches(wanted):
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "The requested 'read_time' is too old.")
        return Past(self.history, wanted)

    def _stage(self, write: Write, staged: dict[str, Document | None], now: Timestamp) -> tuple[str, writes.Effect]:
        name = writes.target_of(write)
        if name in staged:  # `check_together` has checked its precondition against the previous write
            current = staged[name]
        else:
            current = self.documents.get(name)
            writes.check_precondition(write.current_document, name, current)
        effect = writes.apply(write, current, now)
        staged[name] = effect.document
        return name, effect

    def _change(self, name: str, staged: dict[str, Document | None], now: Timestamp) -> Change | None:
        """The change to one document; None if the write changes nothing."""
        old, new = self.documents.get(name), staged[name]
        if new is None:
            return None if old is None else Change(name, old, None, now)
        if not new.HasField("create_time"):  # new, or deleted and recreated by this commit
            new.create_time.CopyFrom(now)
            new.update_time.CopyFrom(now)
        if new == old:
            return None
        new.update_time.CopyFrom(now)
        values.check_document_size(new)
        return Change(name, old, new, now)


def _result(name: str, staged: dict[str, Document | None], effect: writes.Effect) -> WriteResult:
    document = staged[name]
    if document is None:
        return WriteResult(transform_results=effect.transform_results)
    return WriteResult(update_time=document.update_time, transform_results=effect.transform_results)

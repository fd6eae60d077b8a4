"""All documents, and the commits that change them: plain objects, guarded by their owner's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.firestore import fields, values, writes
from local.backends.embedded.firestore.index import FieldIndex
from local.backends.embedded.firestore.names import collection_of
from local.backends.embedded.firestore.protos import Document, Write, WriteResult


@dataclass(frozen=True, slots=True)
class Change:
    """A document before and after a commit that changed it; None if it did not exist. Must not be modified."""

    name: str
    old: Document | None
    new: Document | None
    time: Timestamp


Watcher = Callable[[Sequence[Change]], None]


class Clock:
    """Unique times in microseconds since the epoch."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self._wall = wall
        self._last = 0

    def tick(self) -> Timestamp:
        """A time after all earlier ones."""
        self._last = max(self._wall(), self._last + 1)
        timestamp = Timestamp()
        timestamp.FromMicroseconds(self._last)
        return timestamp


class Documents:
    """Documents by name. They are replaced, never modified, so references to them stay valid."""

    def __init__(self, collections: dict[str, dict[str, Document]] | None = None) -> None:
        self._collections = collections or {}
        self._indexes: dict[str, dict[fields.Path, FieldIndex]] = {}

    def get(self, name: str) -> Document | None:
        """The document with that name, if it exists."""
        return self._collections.get(collection_of(name), {}).get(name)

    def put(self, name: str, document: Document | None) -> None:
        """Store the document, or remove it."""
        collection = collection_of(name)
        for index in self._indexes.get(collection, {}).values():
            index.replace(self.get(name), document)
        if document is not None:
            self._collections.setdefault(collection, {})[name] = document
        elif members := self._collections.get(collection):
            members.pop(name, None)
            if not members:
                del self._collections[collection]

    def collections(self) -> Iterator[str]:
        """The full names of all collections that have documents."""
        return iter(self._collections)

    def members(self, collection: str) -> Iterator[Document]:
        """The documents of one collection, in no particular order."""
        return iter(self._collections.get(collection, {}).values())

    def index(self, collection: str, path: fields.Path) -> FieldIndex:
        """The index of a field, which is built when it is needed for the first time."""
        indexes = self._indexes.setdefault(collection, {})
        if path not in indexes:
            indexes[path] = FieldIndex(path, self.members(collection))
        return indexes[path]

    def snapshot(self) -> Documents:
        """A copy that later changes don't affect."""
        return Documents({name: dict(members) for name, members in self._collections.items()})


class Store:
    """The documents, the clock that orders their changes, and the observers of changes."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self.documents = Documents()
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
            for watcher in self.watchers:
                watcher(changes)
        return [_result(name, staged, effect) for name, effect in effects], now

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

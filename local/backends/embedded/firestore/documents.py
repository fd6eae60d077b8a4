"""The documents, and what queries need of them: plain objects, guarded by their owner's lock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.index import Entry, FieldIndex
from local.backends.embedded.firestore.names import collection_of
from local.backends.embedded.firestore.protos import Document


@dataclass(frozen=True, slots=True)
class Change:
    """A document before and after a commit that changed it; None if it did not exist. Must not be modified."""

    name: str
    old: Document | None
    new: Document | None
    time: Timestamp


class View(Protocol):
    """The documents as of one moment, now or in the past."""

    def get(self, name: str) -> Document | None:
        """The document with that name, if it exists."""
        ...

    def collections(self) -> Iterator[str]:
        """The full names of all collections that have documents."""
        ...

    def members(self, collection: str) -> Iterator[Document]:
        """The documents of one collection, in no particular order."""
        ...

    def entries(self, collection: str, path: fields.Path, start: tuple[Any, ...]) -> Iterator[Entry]:
        """The index entries of a field from `start`; see `FieldIndex.since`."""
        ...


class Documents:
    """The current documents. They are replaced, never modified, so references to them stay valid."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Document]] = {}
        self._indexes: dict[str, dict[fields.Path, FieldIndex]] = {}

    def get(self, name: str) -> Document | None:
        """See `View`."""
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
        """See `View`."""
        return iter(self._collections)

    def members(self, collection: str) -> Iterator[Document]:
        """See `View`."""
        return iter(self._collections.get(collection, {}).values())

    def entries(self, collection: str, path: fields.Path, start: tuple[Any, ...]) -> Iterator[Entry]:
        """See `View`. The index is built when it is needed for the first time."""
        indexes = self._indexes.setdefault(collection, {})
        if path not in indexes:
            indexes[path] = FieldIndex(path, self.members(collection))
        return indexes[path].since(start)

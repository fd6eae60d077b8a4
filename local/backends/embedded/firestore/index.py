"""Single-field indexes: the documents of a collection that have a field, by its value and then by name. In memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Any

from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.protos import Document
from local.backends.embedded.firestore.values import SortKey, name_key, sort_key

#: The field's value, the document's place among equal values, and the document's name.
Entry = tuple[SortKey, SortKey, str]


class FieldIndex:
    """An index of the field at `path` over some documents, kept up to date by its owner."""

    def __init__(self, path: fields.Path, documents: Iterable[Document]) -> None:
        self._path = path
        self._entries = sorted(entry for document in documents if (entry := self._entry(document)) is not None)

    def replace(self, old: Document | None, new: Document | None) -> None:
        """Note that a document has changed; None if it did not exist, or does not exist any more."""
        before, after = self._entry(old), self._entry(new)
        if before == after:
            return
        if before is not None:
            del self._entries[bisect_left(self._entries, before)]
        if after is not None:
            insort(self._entries, after)

    def since(self, start: tuple[Any, ...]) -> Iterator[Entry]:
        """The entries from `start`: a value's key, and perhaps a name's."""
        for place in range(bisect_left(self._entries, start), len(self._entries)):
            yield self._entries[place]

    def _entry(self, document: Document | None) -> Entry | None:
        value = None if document is None else fields.get(document.fields, self._path)
        return None if document is None or value is None else (sort_key(value), name_key(document.name), document.name)

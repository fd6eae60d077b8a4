"""Structured queries: which documents they find, and in which order. Pure.

https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#structuredquery
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import itemgetter
from typing import Any

import grpc
from google.cloud.firestore_v1.types import StructuredQuery as Api

from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.documents import View
from local.backends.embedded.firestore.filters import (
    Condition,
    compile_filter,
    equal_keys,
    has_key_equality,
    inequality_paths,
    key_range,
    leaves,
    required,
)
from local.backends.embedded.firestore.index import Entry
from local.backends.embedded.firestore.limits import check_filter
from local.backends.embedded.firestore.names import check_parent, collection_of
from local.backends.embedded.firestore.protos import Cursor, Document, StructuredQuery, Value
from local.backends.embedded.firestore.values import SortKey, sort_key

_DESCENDING = Api.Direction.DESCENDING
_NAME: fields.Path = (fields.NAME,)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The collection below `parent`; with `descends`, all with that id (or, if it is empty, any) at any depth."""

    parent: str
    collection_id: str
    descends: bool

    def holds(self, collection: str) -> bool:
        above, _, collection_id = collection.rpartition("/")
        if not self.descends:
            return above == self.parent and collection_id == self.collection_id
        return self.collection_id in ("", collection_id) and f"{above}/".startswith(f"{self.parent}/")

    @property
    def collection(self) -> str:
        return f"{self.parent}/{self.collection_id}"

    def members(self, documents: View) -> Iterator[Document]:
        if not self.descends:
            yield from documents.members(self.collection)
            return
        for collection in documents.collections():
            if self.holds(collection):
                yield from documents.members(collection)


@dataclass(frozen=True, slots=True)
class _Order:
    path: fields.Path
    descends: bool

    def key(self, key: SortKey) -> SortKey | _Descending:
        return _Descending(key) if self.descends else key


@dataclass(frozen=True, slots=True, order=False)
class _Descending:
    """A sort key in descending order."""

    key: SortKey

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key


Position = tuple[SortKey | _Descending, ...]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A cursor: where the results start or end; it may have fewer `keys` than the query has orders."""

    keys: Position
    before: bool

    def is_after(self, position: Position) -> bool:
        """Whether the cursor lies after a document at `position`."""
        head = position[: len(self.keys)]
        return not self.before if head == self.keys else head < self.keys


class Query:
    """A validated query. With `aggregated` fields, it finds only documents that have all of them, in their order."""

    def __init__(self, parent: str, query: StructuredQuery, aggregated: Collection[fields.Path] = ()) -> None:
        check_parent(parent)
        if query.HasField("find_nearest"):
            raise unsupported("vector search (find_nearest)")
        self._scope = _scope(parent, query)
        check_filter(query.where)
        self._condition: Condition = compile_filter(query.where)
        self._required = list(required(query.where))
        if aggregated and query.select.fields:
            raise invalid("Cannot apply property masks when aggregation fields are present.")
        self._orders = _orders(query, aggregated)
        self._start = self._bound(query.start_at) if query.HasField("start_at") else None
        self._end = self._bound(query.end_at) if query.HasField("end_at") else None
        self._select = [fields.parse(field.field_path) for field in query.select.fields]
        self.offset = query.offset
        self.limit = query.limit.value if query.HasField("limit") else None
        if self.offset < 0 or (self.limit is not None and self.limit < 0):
            raise invalid("offset and limit must not be negative.")

    @property
    def is_cut(self) -> bool:
        """Whether other documents influence whether a document is found."""
        return bool(self.offset) or self.limit is not None

    def run(self, documents: View) -> list[Document]:
        """The documents found, in order and whole."""
        end = None if self.limit is None else self.offset + self.limit
        entries = self._entries(documents)
        if entries is not None:
            ordered = (document for _, _, name in entries if (document := documents.get(name)) is not None)
            return list(islice(filter(self._passes, ordered), self.offset, end))
        found = [document for document in self._scope.members(documents) if self._passes(document)]
        found.sort(key=self._position)
        return found[self.offset : end]

    def finds(self, document: Document) -> bool:
        """Whether a document is among the results, ignoring offset and limit."""
        return self._scope.holds(collection_of(document.name)) and self._passes(document)

    def projected(self, document: Document) -> Document:
        """The fields of the document that the query selects."""
        return fields.only(document, self._select) if self._select else document

    def _entries(self, documents: View) -> Iterator[Entry] | None:
        """Entries of an index that include all documents found, in order; None if every document must be looked at.

        An index serves a query by equality that is ordered by name, and one that is ordered by a single field.
        """
        if self._scope.descends or len(self._orders) > 2 or any(order.descends for order in self._orders):
            return None
        lead = self._orders[0].path
        start: tuple[Any, ...] = () if self._start is None else self._start.keys
        if lead != _NAME:
            return self._in_range(documents, lead, start)
        for one in self._required:
            path, keys = fields.parse(one.field.field_path), equal_keys(one)
            if keys is not None and path != lead:
                parts = [
                    _while_equal(documents.entries(self._scope.collection, path, (key, *start)), key) for key in keys
                ]
                return heapq.merge(*parts, key=itemgetter(1))
        return None

    def _in_range(self, documents: View, lead: fields.Path, start: tuple[Any, ...]) -> Iterator[Entry]:
        last: SortKey | None = None
        for one in self._required:
            limits = key_range(one) if fields.parse(one.field.field_path) == lead else None
            if limits is not None:
                start, last = max(start, limits[:1]), limits[1] or last
        entries = documents.entries(self._scope.collection, lead, start)
        return entries if last is None else takewhile(lambda entry: entry[0] <= last, entries)

    def _passes(self, document: Document) -> bool:
        if not self._condition(document):
            return False
        if any(fields.value_of(document, order.path) is None for order in self._orders):
            return False
        if self._start is None and self._end is None:
            return True
        position = self._position(document)
        return not (self._start is not None and self._start.is_after(position)) and (
            self._end is None or self._end.is_after(position)
        )

    def _position(self, document: Document) -> Position:
        return tuple(order.key(sort_key(_existing(document, order.path))) for order in self._orders)

    def _bound(self, cursor: Cursor) -> _Bound:
        if len(cursor.values) > len(self._orders):
            raise invalid("A cursor has more values than there are orders.")
        keys = zip(self._orders, cursor.values, strict=False)
        return _Bound(tuple(order.key(sort_key(value)) for order, value in keys), cursor.before)


def _scope(parent: str, query: StructuredQuery) -> _Scope:
    if len(query.from_) != 1:
        raise invalid("A query needs exactly one collection selector.")
    selector = query.from_[0]
    if not selector.collection_id and not selector.all_descendants:
        raise invalid("A collection selector needs a collection_id or all_descendants.")
    return _Scope(parent, selector.collection_id, selector.all_descendants)


def _orders(query: StructuredQuery, aggregated: Collection[fields.Path]) -> Sequence[_Order]:
    """The explicit orders, then those that the API adds: fields compared for inequality or aggregated, and the name."""
    orders: list[_Order] = []
    for order in query.order_by:
        path = fields.parse(order.field.field_path)
        if path in (earlier.path for earlier in orders):
            raise invalid("order by clause cannot contain duplicate fields")
        _add(orders, [path], order.direction == _DESCENDING)
    descends = bool(orders) and orders[-1].descends
    _add(orders, inequality_paths(query.where), descends)
    if orders[:1] == [_Order(_NAME, True)] and all(
        fields.parse(one.field.field_path) == _NAME for one in leaves(query.where)
    ):
        raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "Firestore does not support descending key scans")
    if has_key_equality(query.where) and not {order.path for order in orders}.issuperset(aggregated):
        raise invalid("Firestore does not support an index with aggregated fields after __name__.")
    _add(orders, aggregated, descends)
    _add(orders, [_NAME], descends)
    return orders


def _add(orders: list[_Order], paths: Iterable[fields.Path], descends: bool) -> None:
    """Add orders by fields that are not among them; after the name, there can be none."""
    known = {order.path for order in orders}
    new = sorted(set(paths) - known, key=lambda path: (path == _NAME, path))
    if new and _NAME in known:
        raise invalid("order by clause cannot contain more fields after the key")
    orders += [_Order(path, descends) for path in new]


def _while_equal(entries: Iterator[Entry], key: SortKey) -> Iterator[Entry]:
    return takewhile(lambda entry: entry[0] == key, entries)


def _existing(document: Document, path: fields.Path) -> Value:
    value = fields.value_of(document, path)
    if value is None:
        raise KeyError(path)
    return value

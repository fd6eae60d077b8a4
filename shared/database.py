"""The few things Firepost asks of Firestore, each one or two round trips, with Google's errors turned into ours.

`Database` is the seam for batching: whoever calls it can't tell whether an update travelled alone or with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

import grpc
from google.cloud.firestore_v1.types import firestore as api
from google.cloud.firestore_v1.types import query as query_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import FirepostError, Unavailable
from shared.rpcs import Connection, Rpcs
from shared.states import DECIDING_FIELDS, DELETE, Changes, Known, State
from shared.values import decode_fields, decode_time, encode, encode_fields

#: A document's update time as the server said it: what a conditional write is conditional on.
Version = Timestamp

_Write = write_types.Write.pb()
_Operator = query_types.StructuredQuery.FieldFilter.Operator

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_NOT_AS_DEMANDED = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS)

_T = TypeVar("_T")

#: What a transaction's `decide` is shown, and what it answers: anything, and the changes to write (if any).
Decide = Callable[["Snapshot | None"], tuple[_T, Changes | None]]


class Stale(FirepostError):
    """The document is not, or no longer, what the write was conditional on."""


class Unwritable(FirepostError):
    """Firestore refuses the write itself, whenever it is tried: the document would exceed 1 MiB, say."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it was at one moment; `fields` are decoded (see `shared.values`)."""

    path: str
    fields: dict[str, Any]
    created: datetime
    version: Version


@dataclass(frozen=True, slots=True)
class Found:
    """A document that a query found: its path, what decides about it, and the version that this was true of."""

    path: str
    known: Known
    updated: datetime
    version: Version


class Database(Protocol):
    """Documents by their path relative to the database (`mail/abc`).

    Every method raises `Unavailable` when Firestore did not do it; a write may have been applied nevertheless, if
    only the answer was lost. Nothing is repeated here: how often it is worth while, the caller knows.
    """

    def get(self, path: str) -> Snapshot | None:
        """The document, or None if there is none."""
        ...

    def create(self, path: str, fields: Changes) -> Version:
        """Write a new document; raises `Stale` if there is one already, `Unwritable` if it can't be stored."""
        ...

    def update(self, path: str, changes: Changes, version: Version) -> Version:
        """Write `changes` if the document still has `version`; raises `Stale` if not, `Unwritable` as above."""
        ...

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """Read, decide and write as one.

        Returns what `decide` returned, the document it was shown, and the version that the write made (if it wrote).
        `Unavailable` includes losing against another transaction.
        """
        ...


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """A conditional write, encoded and ready to go alone or with others.

    `content` is as the database that prepared it wants it, `size` its share of a request in bytes.
    """

    path: str
    content: Any
    size: int


class BulkDatabase(Database, Protocol):
    """A `Database` that also takes many operations in one request, each of which succeeds or fails for itself.

    Where a request fails as a whole, `get_many` and `write_many` raise: `Unavailable` as above, and `Unwritable` when
    it was refused because of any of its operations, so that none was carried out.
    """

    def prepare_create(self, path: str, fields: Changes) -> PreparedWrite:
        """What `create` would do; raises `Unwritable` if a value has no place in Firestore."""
        ...

    def prepare_update(self, path: str, changes: Changes, version: Version) -> PreparedWrite:
        """What `update` would do; raises `Unwritable` as above."""
        ...

    def write(self, write: PreparedWrite) -> Version:
        """Carry out one write, with the errors of `create` and `update`."""
        ...

    def get_many(self, paths: Sequence[str]) -> list[Snapshot | None]:
        """The documents in the order of their paths, all as of one moment."""
        ...

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        """What became of each write, in their order; no two of them may be about the same document."""
        ...


class MailQueries(Protocol):
    """The queries of the reconciler. Each page is one request; `after` is the last path of the page before."""

    def in_state(self, collection: str, state: State, limit: int, after: str | None = None) -> list[Found]:
        """Documents in a state, in the order of their ids. Needs only the single-field index on `delivery.state`."""
        ...

    def due(self, collection: str, now: datetime, limit: int) -> list[Found]:
        """Documents whose scheduled time has come, the earliest first; the index is on `delivery.nextAttemptTime`."""
        ...


class FirestoreDatabase:
    """`BulkDatabase` and `MailQueries` over the Firestore API."""

    def __init__(self, connection: Connection, project: str, database: str) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._rpcs = Rpcs(connection, self._database)

    def get(self, path: str) -> Snapshot | None:
        """See `Database.get`."""
        [snapshot] = self.get_many([path])
        return snapshot

    def get_many(self, paths: Sequence[str]) -> list[Snapshot | None]:
        """See `BulkDatabase.get_many`.

        Each document is a message of its own in the answer, so that the limit on a message's size is none on theirs.
        """
        _, found = self._read(paths)
        return [found[path] and _snapshot(path, found[path]) for path in paths]

    def get_fields(self, paths: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The named fields of the documents that exist, by path, in one request."""
        _, found = self._read(paths, mask={"field_paths": names})
        return {path: decode_fields(document.fields) for path, document in found.items() if document is not None}

    def create(self, path: str, fields: Changes) -> Version:
        """See `Database.create`."""
        return self.write(self.prepare_create(path, fields))

    def update(self, path: str, changes: Changes, version: Version) -> Version:
        """See `Database.update`."""
        return self.write(self.prepare_update(path, changes, version))

    def prepare_create(self, path: str, fields: Changes) -> PreparedWrite:
        """See `BulkDatabase.prepare_create`."""
        with _encoding():
            update = {"name": self._name(path), "fields": encode_fields(fields)}
            return _prepared(path, _Write(update=update, current_document={"exists": False}))

    def prepare_update(self, path: str, changes: Changes, version: Version) -> PreparedWrite:
        """See `BulkDatabase.prepare_update`."""
        write = self._update(path, changes)
        write.current_document.update_time.CopyFrom(version)
        return _prepared(path, write)

    def write(self, write: PreparedWrite) -> Version:
        """See `BulkDatabase.write`."""
        return self._commit(write.content)

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        """See `BulkDatabase.write_many`."""
        request = api.BatchWriteRequest.pb()(database=self._database, writes=[write.content for write in writes])
        with _translated(conditional=True):
            answer = self._rpcs.batch_write(request)
        if not len(writes) == len(answer.status) == len(answer.write_results):
            raise Unavailable(f"Firestore's answer told of {len(answer.status)} of {len(writes)} writes.")
        return [
            _failure(_STATUS[status.code], status.message, conditional=True) if status.code else result.update_time
            for status, result in zip(answer.status, answer.write_results, strict=True)
        ]

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """See `Database.transact`; two requests, as the read begins the transaction."""
        transaction, found = self._read([path], new_transaction={"read_write": {}})
        snapshot = found[path] and _snapshot(path, found[path])
        decision, changes = decide(snapshot)
        if changes is None:
            with _translated():
                self._rpcs.rollback(api.RollbackRequest.pb()(database=self._database, transaction=transaction))
            return decision, snapshot, None
        return decision, snapshot, self._commit(self._update(path, changes), transaction)

    def in_state(self, collection: str, state: State, limit: int, after: str | None = None) -> list[Found]:
        """See `MailQueries.in_state`."""
        query: dict[str, Any] = {
            "where": _field_filter("delivery.state", _Operator.EQUAL, state),
            "order_by": [{"field": {"field_path": "__name__"}}],
        }
        if after is not None:
            query["start_at"] = {"values": [{"reference_value": self._name(after)}]}
        return self._found(collection, query, limit)

    def due(self, collection: str, now: datetime, limit: int) -> list[Found]:
        """See `MailQueries.due`."""
        field = "delivery.nextAttemptTime"
        order_by = [{"field": {"field_path": field}}]
        query = {"where": _field_filter(field, _Operator.LESS_THAN_OR_EQUAL, now), "order_by": order_by}
        return self._found(collection, query, limit)

    def find(self, collection: str, field: str, value: Any, limit: int) -> list[Snapshot]:
        """Whole documents of the collection whose field equals the value, in the order of their ids."""
        query = {"where": _field_filter(field, _Operator.EQUAL, value)}
        documents = self._run_query(collection, query, limit)
        return [_snapshot(_path(document.name), document) for document in documents]

    def _found(self, collection: str, query: dict[str, Any], limit: int) -> list[Found]:
        """One page; only the fields that decide are sent, for a mail may be as large as a mebibyte."""
        select = {"fields": [{"field_path": name} for name in DECIDING_FIELDS]}
        return [_as_found(document) for document in self._run_query(collection, query | {"select": select}, limit)]

    def _run_query(self, collection: str, query: dict[str, Any], limit: int) -> list[Any]:
        """The raw documents."""
        parent, _, collection_id = collection.rpartition("/")
        request = api.RunQueryRequest.pb()(
            parent=self._name(parent) if parent else f"{self._database}/documents",
            structured_query={
                **query,
                "from_": [{"collection_id": collection_id}],
                "limit": {"value": limit},
            },
        )
        with _translated():
            documents = [answer.document for answer in self._rpcs.run_query(request)]
        return [document for document in documents if document.name]

    def _name(self, path: str) -> str:
        return f"{self._database}/documents/{path}"

    def _read(self, paths: Sequence[str], **options: Any) -> tuple[bytes, dict[str, Any]]:
        """The transaction, if one was to begin, and the raw documents by path: None for one that does not exist."""
        with _encoding():
            names = {self._name(path) for path in paths}
            request = api.BatchGetDocumentsRequest.pb()(database=self._database, documents=names, **options)
        transaction, documents = b"", {}
        with _translated():
            for answer in self._rpcs.batch_get_documents(request):
                transaction = answer.transaction or transaction
                if answer.HasField("found"):
                    documents[_path(answer.found.name)] = answer.found
                elif answer.missing:
                    documents[_path(answer.missing)] = None
        if len(documents) < len(names):
            raise Unavailable(f"Firestore's answer told of {len(documents)} of {len(names)} documents.")
        return transaction, documents

    def _commit(self, write: Any, transaction: bytes = b"") -> Version:
        request = api.CommitRequest.pb()(database=self._database, writes=[write], transaction=transaction)
        with _translated(conditional=True):
            version: Version = self._rpcs.commit(request).write_results[0].update_time
        return version

    def _update(self, path: str, changes: Changes) -> Any:
        with _encoding():
            return _Write(
                update={"name": self._name(path), "fields": encode_fields(nested(changes))},
                update_mask={"field_paths": list(changes)},
            )


def nested(changes: Changes) -> dict[str, Any]:
    """Changes by dotted path as nested maps, without the fields to be deleted."""
    fields: dict[str, Any] = {}
    for path, value in changes.items():
        if value is not DELETE:
            *parents, name = path.split(".")
            place = fields
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
    return fields


def _field_filter(path: str, operator: int, value: Any) -> dict[str, Any]:
    return {"field_filter": {"field": {"field_path": path}, "op": operator, "value": encode(value)}}


def _path(name: str) -> str:
    """What follows `projects/…/databases/…/documents/`."""
    return name.split("/", 5)[5]


def _snapshot(path: str, document: Any) -> Snapshot:
    return Snapshot(path, decode_fields(document.fields), decode_time(document.create_time), document.update_time)


def _as_found(document: Any) -> Found:
    known = Known.of(decode_fields(document.fields))
    return Found(_path(document.name), known, decode_time(document.update_time), document.update_time)


def _prepared(path: str, write: Any) -> PreparedWrite:
    return PreparedWrite(path, write, write.ByteSize())


@contextmanager
def _encoding() -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # protobuf: an integer beyond 64 bits, text that is not Unicode
        raise Unwritable("A value can't be stored in Firestore.") from error


@contextmanager
def _translated(conditional: bool = False) -> Iterator[None]:
    """`conditional`: that a document is not as it was demanded is an answer, too."""
    try:
        yield
    except grpc.RpcError as error:
        raise _failure(error.code(), error.details(), conditional) from error


def _failure(code: grpc.StatusCode, text: str | None, conditional: bool) -> FirepostError:
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Unwritable(text)
    if conditional and code in _NOT_AS_DEMANDED:
        return Stale(text)
    return Unavailable(f"Firestore answered {code.name}: {text}")

"""Firestore operations, each one or two round trips; Google's errors are translated to Firepost's.

`Database` is the port; `FirestoreDatabase` implements it with the API.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.cloud.firestore_v1.types import firestore as api
from google.cloud.firestore_v1.types import query as query_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf.timestamp_pb2 import Timestamp

from shared.batcher import in_requests
from shared.delivery.lanes import TRAITS
from shared.delivery.model import (
    DECIDING_DELIVERY_FIELDS,
    DECIDING_TIMES,
    DELETE,
    Changes,
    DocumentState,
    State,
)
from shared.errors import FirepostError, Unavailable
from shared.firestore.client import Connection, RawAnswer, RawRequest
from shared.firestore.values import (
    RawValue,
    decode,
    decode_deciding,
    decode_document,
    decode_text,
    decode_time,
    encode,
    encode_fields,
)

#: A document's update time exactly as the server sent it: the precondition of a conditional write.
Version = Timestamp

_Write = write_types.Write.pb()

#: Writes in one request: https://firebase.google.com/docs/firestore/manage-data/transactions#batched-writes
MAX_WRITES: Final = 500

#: What a query reads of a document: what `deciding_fields` decodes, because a mail may be as large as 1 MiB.
_SELECT: Final = {
    "fields": [
        *({"field_path": f"delivery.{name}"} for name in (*DECIDING_DELIVERY_FIELDS, "history")),
        *({"field_path": name} for name in (*DECIDING_TIMES, *TRAITS)),
    ]
}

#: More than the longest `delivery.history` that Firepost writes.
_HISTORY_BYTES: Final = 64 * 1024

#: The most bytes of a page that a query reads, but for its last document. Applications can make each as large as 1 MiB.
_PAGE_BYTES: Final = 16 * 1024 * 1024

# Raw protobufs: their classes are made at run time, and mypy does not know them. A query is passed as a dict.
RawDocument = Any
RawWrite = Any
RawQuery = dict[str, Any]

_Operator = query_types.StructuredQuery.FieldFilter.Operator

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_PRECONDITION_FAILED = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS)

_T = TypeVar("_T")

#: A transaction's decision: from the document to any answer, and the changes to write (if any).
Decide = Callable[["Snapshot | None"], tuple[_T, Changes | None]]


class Stale(FirepostError):
    """The precondition of a write failed: the document has changed, is missing, or already exists."""


class Unwritable(FirepostError):
    """Firestore will always refuse this write: the document would exceed 1 MiB, for example."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one moment; `fields` are decoded (see `shared.firestore.values`)."""

    path: str
    fields: dict[str, Any]
    created: datetime
    version: Version


@dataclass(frozen=True, slots=True)
class Found:
    """A document that a query found: its path, the state that decisions depend on, and the version of that state."""

    path: str
    known: DocumentState
    updated: datetime
    version: Version


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the documents that a query finds, in its order; `is_last` if there are no more after them."""

    found: list[Found]
    is_last: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Changes to one document, applied only if it still has this version; without one, only if it does not exist."""

    path: str
    changes: Changes
    version: Version | None


class Database(Protocol):
    """Documents by their path relative to the database (`mail/abc`).

    `read` and `write` give each item its own outcome and raise nothing. `Unavailable` means that Firestore did not
    confirm; a write may still have been applied if only the answer was lost. Nothing is retried here: the caller knows
    how often that is worthwhile.
    """

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        """Read documents. Each answer, in the order of `paths`, is a snapshot, None (no document) or an error."""
        ...

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        """Write different documents, and return the new version of each, in the order of the writes.

        Otherwise `Stale` if the precondition failed, `Unwritable` if Firestore refuses the write, or `Unavailable`.
        """
        ...

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """Read, decide and write in one transaction.

        Returns the answer of `decide`, the document it got, and the version that the write created (if any). Raises
        `Unavailable`, also if another transaction won, and `Unwritable`.
        """
        ...

    def in_states(self, collection: str, states: Sequence[State], limit: int, after: str | None) -> Page:
        """At most `limit` documents in one of the states, by id, after the id `after`; fewer if they are large.

        Raises `Unavailable`, unless some documents have arrived.
        It needs only the single-field index on `delivery.state`: `in` is an OR of equalities, and each of these already
        comes in the order of ids. https://firebase.google.com/docs/firestore/query-data/index-overview#index_modes
        """
        ...

    def due(self, collection: str, now: datetime, limit: int, after: datetime | None = None) -> Iterator[list[Found]]:
        """All documents with a `delivery.nextAttemptTime` of at most `now`, in any state, the earliest first.

        With `after`, only those with a later time than that. They come in pages of up to `limit`, each of which is read
        when it is asked for; that may raise `Unavailable`.
        Only the single-field index on `delivery.nextAttemptTime` is needed.
        """
        ...


class FirestoreDatabase:
    """`Database` over the Firestore API."""

    def __init__(self, connection: Connection, project: str, database: str) -> None:
        self._database = f"projects/{project}/databases/{database}"
        self._connection = connection
        self._api = connection.transport

    def get(self, path: str) -> Snapshot | None:
        """The document, or None if there is none. Raises `Unavailable`, and `Unwritable` if the path is invalid."""
        _, found = self._read([path])
        return found[path]

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        """See `Database.read`; all documents are of the same moment.

        The answer has a message per document, so the limit on a message's size does not apply to their total. A request
        that is refused because of one path is split.
        """
        try:
            _, found = self._read(paths)
        except FirepostError as error:
            if isinstance(error, Unwritable) and len(paths) > 1:
                return [outcome for path in paths for outcome in self.read([path])]
            return [copy.copy(error) for _ in paths]
        return [found[path] for path in paths]

    def get_fields(self, paths: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The named fields of the documents that exist, by path, in one request."""
        _, found = self._read(paths, mask={"field_paths": names})
        return {path: snapshot.fields for path, snapshot in found.items() if snapshot is not None}

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        """See `Database.write`. One write is a `Commit`, several are a `BatchWrite`."""
        encoded = [self._encoded(write) for write in writes]
        requests = in_requests((each for each in encoded if not isinstance(each, Unwritable)), _size, MAX_WRITES)
        outcomes = (outcome for request in requests for outcome in self._outcomes(request))
        return [each if isinstance(each, Unwritable) else next(outcomes) for each in encoded]

    def _encoded(self, write: Write) -> RawWrite | Unwritable:
        """The raw write, or `Unwritable`."""
        try:
            if write.version is not None:
                encoded = self._update(write.path, write.changes)
                encoded.current_document.update_time.CopyFrom(write.version)
                return encoded
            with _encoding():
                update = {"name": self._name(write.path), "fields": encode_fields(write.changes)}
                return _Write(update=update, current_document={"exists": False})
        except Unwritable as error:
            return error

    def _outcomes(self, writes: Sequence[RawWrite]) -> list[Version | FirepostError]:
        """Execute the writes of one request. A request that is refused because of one write is split."""
        try:
            return [self._commit(writes[0])] if len(writes) == 1 else self._batch_write(writes)
        except FirepostError as error:
            if isinstance(error, Unwritable) and len(writes) > 1:
                return [outcome for write in writes for outcome in self._outcomes([write])]
            return [copy.copy(error) for _ in writes]

    def _batch_write(self, writes: Sequence[RawWrite]) -> list[Version | FirepostError]:
        request = api.BatchWriteRequest.pb()(database=self._database, writes=writes)
        with _translated(conditional=True):
            answer = api.BatchWriteResponse.pb(self._call(self._api.batch_write, request))
        if not len(writes) == len(answer.status) == len(answer.write_results):
            raise Unavailable(f"Firestore answered {len(answer.status)} of {len(writes)} writes.")
        return [
            _failure(_STATUS[status.code], status.message, conditional=True) if status.code else result.update_time
            for status, result in zip(answer.status, answer.write_results, strict=True)
        ]

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """See `Database.transact`; it takes two requests, as the read begins the transaction."""
        transaction, found = self._read([path], new_transaction={"read_write": {}})
        snapshot = found[path]
        decision, changes = decide(snapshot)
        if changes is None:
            with _translated():
                request = api.RollbackRequest.pb()(database=self._database, transaction=transaction)
                self._call(self._api.rollback, request)
            return decision, snapshot, None
        return decision, snapshot, self._commit(self._update(path, changes), transaction)

    def in_states(self, collection: str, states: Sequence[State], limit: int, after: str | None) -> Page:
        """See `Database.in_states`."""
        query: RawQuery = {
            "where": _field_filter("delivery.state", _Operator.IN, list(states)),
            "order_by": _order_by("__name__"),
            "select": _SELECT,
        }
        if after is not None:
            query["start_at"] = {"values": [{"reference_value": self._name(f"{collection}/{after}")}]}
        page, _ = self._page(collection, query, limit)
        return page

    def due(self, collection: str, now: datetime, limit: int, after: datetime | None = None) -> Iterator[list[Found]]:
        """See `Database.due`."""
        field = "delivery.nextAttemptTime"
        query: RawQuery = {
            "where": _field_filter(field, _Operator.LESS_THAN_OR_EQUAL, now),
            "order_by": _order_by(field, "__name__"),
            "select": _SELECT,
        }
        if after is not None:
            query["start_at"] = {"values": [encode(after)]}
        while True:
            page, last = self._page(collection, query, limit)
            if page.found:
                yield page.found
            if page.is_last or last is None:
                return
            scheduled = last.fields["delivery"].map_value.fields["nextAttemptTime"]
            query["start_at"] = {"values": [scheduled, {"reference_value": last.name}]}

    def _page(self, collection: str, query: RawQuery, limit: int) -> tuple[Page, RawDocument | None]:
        """A page of what the query finds, and its last document.

        It may end early: if its documents are large, or if Firestore fails after some of them.
        """
        found: list[Found] = []
        last, size = None, 0
        try:
            for document in self._run_query(collection, query, limit):
                found.append(_as_found(document))
                last, size = document, size + document.ByteSize()
                if size > _PAGE_BYTES:
                    return Page(found, is_last=False), last
        except Unavailable:
            if not found:
                raise
            return Page(found, is_last=False), last
        return Page(found, is_last=len(found) < limit), last

    def page(self, collection: str, limit: int, after: str | None = None) -> list[Snapshot]:
        """Whole documents of the collection by id, at most `limit`, after the path `after`. Raises `Unavailable`."""
        query: RawQuery = {"order_by": [{"field": {"field_path": "__name__"}}]}
        if after is not None:
            query["start_at"] = {"values": [{"reference_value": self._name(after)}]}
        return [_snapshot(_path(each.name), each) for each in self._run_query(collection, query, limit)]

    def find(self, collection: str, field: str, value: Any, limit: int) -> list[Snapshot]:
        """Whole documents of the collection whose field equals the value, by id."""
        query = {"where": _field_filter(field, _Operator.EQUAL, value)}
        return [_snapshot(_path(each.name), each) for each in self._run_query(collection, query, limit)]

    def _run_query(self, collection: str, query: RawQuery, limit: int) -> Iterator[RawDocument]:
        """The documents found, as they arrive. Raises `Unavailable`, and `Unwritable` if the query is invalid."""
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
            for answer in self._call(self._api.run_query, request, routed_by="parent"):
                document = api.RunQueryResponse.pb(answer).document
                if document.name:
                    yield document

    def _call(self, method: Callable[..., RawAnswer], request: RawRequest, routed_by: str = "database") -> RawAnswer:
        return self._connection.call(method, request, self._database, routed_by)

    def _name(self, path: str) -> str:
        return f"{self._database}/documents/{path}"

    def _read(self, paths: Sequence[str], **options: Any) -> tuple[bytes, dict[str, Snapshot | None]]:
        """The transaction id, if one was requested, and the documents by path (None: no document).

        Each is decoded as it arrives: in raw form, one of many small values takes 40 times its size.
        """
        with _encoding():
            names = {self._name(path) for path in paths}
            request = api.BatchGetDocumentsRequest.pb()(database=self._database, documents=names, **options)
        transaction = b""
        documents: dict[str, Snapshot | None] = {}
        with _translated():
            for wrapped in self._call(self._api.batch_get_documents, request):
                answer = api.BatchGetDocumentsResponse.pb(wrapped)
                transaction = answer.transaction or transaction
                if answer.HasField("found"):
                    path = _path(answer.found.name)
                    documents[path] = _snapshot(path, answer.found)
                elif answer.missing:
                    documents[_path(answer.missing)] = None
        if len(documents) < len(names):
            raise Unavailable(f"Firestore answered {len(documents)} of {len(names)} documents.")
        return transaction, documents

    def _commit(self, write: RawWrite, transaction: bytes = b"") -> Version:
        request = api.CommitRequest.pb()(database=self._database, writes=[write], transaction=transaction)
        with _translated(conditional=True):
            answer = api.CommitResponse.pb(self._call(self._api.commit, request))
        version: Version = answer.write_results[0].update_time
        return version

    def _update(self, path: str, changes: Changes) -> RawWrite:
        with _encoding():
            return _Write(
                update={"name": self._name(path), "fields": encode_fields(nested(changes))},
                update_mask={"field_paths": list(changes)},
            )


def nested(changes: Changes) -> dict[str, Any]:
    """Convert changes by dotted path to nested maps, leaving out deletions."""
    fields: dict[str, Any] = {}
    for path, value in changes.items():
        if value is not DELETE:
            *parents, name = path.split(".")
            place = fields
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
    return fields


def _field_filter(path: str, operator: int, value: Any) -> RawQuery:
    return {"field_filter": {"field": {"field_path": path}, "op": operator, "value": encode(value)}}


def _order_by(*paths: str) -> list[RawQuery]:
    return [{"field": {"field_path": path}} for path in paths]


def _path(name: str) -> str:
    """The part after `projects/…/databases/…/documents/`."""
    return name.split("/", 5)[5]


def _snapshot(path: str, document: RawDocument) -> Snapshot:
    fields = decode_document(document.fields, document.ByteSize())
    return Snapshot(path, fields, decode_time(document.create_time), _version(document))


def _as_found(document: RawDocument) -> Found:
    known = DocumentState.of(deciding_fields(document))
    return Found(_path(document.name), known, decode_time(document.update_time), _version(document))


def _version(document: RawDocument) -> Version:
    """A copy: a part of a raw document keeps the memory of all of it."""
    time = document.update_time
    return Version(seconds=time.seconds, nanos=time.nanos)


def deciding_fields(document: RawDocument) -> dict[str, Any]:
    """The decoded fields of a raw document that decisions and its lane depend on; of maps, those within."""
    fields = document.fields
    decoded: dict[str, Any] = {name: decode_deciding(fields[name]) for name in DECIDING_TIMES if name in fields}
    for path in TRAITS:
        _copy_text(fields, path, decoded)
    if "delivery" in fields and fields["delivery"].HasField("map_value"):
        decoded["delivery"] = _deciding_delivery(fields["delivery"].map_value.fields)
    return decoded


def _copy_text(fields: Mapping[str, RawValue], path: str, decoded: dict[str, Any]) -> None:
    """Decode the text at `path`, such as `template.name`, if there is something, to the same place in `decoded`."""
    name, _, within = path.partition(".")
    if name not in fields:
        return
    if not within:
        decoded[name] = decode_text(fields[name])
    elif fields[name].HasField("map_value"):
        _copy_text(fields[name].map_value.fields, within, decoded.setdefault(name, {}))


def _deciding_delivery(fields: Mapping[str, RawValue]) -> dict[str, Any]:
    delivery = {name: decode_deciding(fields[name]) for name in DECIDING_DELIVERY_FIELDS if name in fields}
    may_end_an_attempt = delivery.get("state") == State.PROCESSING or delivery.get("leaseExpireTime") is not None
    if "history" in fields and may_end_an_attempt:
        history = fields["history"]
        delivery["history"] = decode(history) if history.ByteSize() <= _HISTORY_BYTES else None
    return delivery


def _size(write: RawWrite) -> int:
    size: int = write.ByteSize()
    return size


@contextmanager
def _encoding() -> Iterator[None]:
    try:
        yield
    except (
        TypeError,
        ValueError,
    ) as error:  # an unsupported type; an integer beyond 64 bits; text that is not valid Unicode
        raise Unwritable("A value can't be stored in Firestore.") from error


@contextmanager
def _translated(conditional: bool = False) -> Iterator[None]:
    """Translate Google's errors; with `conditional`, a failed precondition becomes `Stale`."""
    try:
        yield
    except grpc.RpcError as error:
        raise _failure(error.code(), error.details(), conditional) from error


def _failure(code: grpc.StatusCode, text: str | None, conditional: bool) -> FirepostError:
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Unwritable(text)
    if conditional and code in _PRECONDITION_FAILED:
        return Stale(text)
    return Unavailable(f"Firestore answered {code.name}.")  # its words may quote the document, and this text is logged

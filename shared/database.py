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
from google.api_core import exceptions as google_errors
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as api
from google.cloud.firestore_v1.types import query as query_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import FirepostError, Unavailable
from shared.states import DECIDING_FIELDS, DELETE, Changes, Known, State
from shared.values import decode_fields, decode_time, encode, encode_fields

#: A document's update time as the server said it: what a conditional write is conditional on.
Version = Timestamp

_Write = write_types.Write.pb()
_Operator = query_types.StructuredQuery.FieldFilter.Operator

#: A single request's time-out; a healthy Firestore answers in a fraction of it.
_REQUEST_SECONDS = 10.0

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


class MailQueries(Protocol):
    """The queries of the reconciler. Each page is one request; `after` is the last path of the page before."""

    def in_state(self, collection: str, state: State, limit: int, after: str | None = None) -> list[Found]:
        """Documents in a state, in the order of their ids. Needs only the single-field index on `delivery.state`."""
        ...

    def due(self, collection: str, now: datetime, limit: int) -> list[Found]:
        """Documents whose scheduled time has come, the earliest first; the index is on `delivery.nextAttemptTime`."""
        ...


class FirestoreDatabase:
    """`Database` and `MailQueries` over the Firestore API, one request per operation."""

    def __init__(self, client: FirestoreClient, project: str, database: str) -> None:
        self._client = client
        self._database = f"projects/{project}/databases/{database}"

    def get(self, path: str) -> Snapshot | None:
        """See `Database.get`."""
        with _translated():
            _, snapshot = self._read(path)
            return snapshot

    def get_fields(self, paths: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The named fields of the documents that exist, by path, in one request."""
        request = api.BatchGetDocumentsRequest.pb()(
            database=self._database, documents=[self._name(path) for path in paths], mask={"field_paths": names}
        )
        with _translated():
            return {
                self._path(document): decode_fields(document.fields)
                for document, _ in self._batch_get(request)
                if document is not None
            }

    def create(self, path: str, fields: Changes) -> Version:
        """See `Database.create`."""
        with _translated():
            update = {"name": self._name(path), "fields": encode_fields(fields)}
            return self._commit(_Write(update=update, current_document={"exists": False}))

    def update(self, path: str, changes: Changes, version: Version) -> Version:
        """See `Database.update`."""
        write = self._update(path, changes)
        write.current_document.update_time.CopyFrom(version)
        with _translated():
            return self._commit(write)

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """See `Database.transact`; two requests, as the read begins the transaction."""
        with _translated():
            transaction, snapshot = self._read(path, new_transaction={"read_write": {}})
            decision, changes = decide(snapshot)
            if changes is None:
                self._client.rollback(
                    {"database": self._database, "transaction": transaction},
                    retry=None,
                    timeout=_REQUEST_SECONDS,
                )
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
        return [_snapshot(self._path(document), document) for document in documents]

    def _found(self, collection: str, query: dict[str, Any], limit: int) -> list[Found]:
        """One page; only the fields that decide are sent, for a mail may be as large as a mebibyte."""
        select = {"fields": [{"field_path": name} for name in DECIDING_FIELDS]}
        return [self._as_found(document) for document in self._run_query(collection, query | {"select": select}, limit)]

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
            answers = self._client.run_query(api.RunQueryRequest.wrap(request), retry=None, timeout=_REQUEST_SECONDS)
            documents = [api.RunQueryResponse.pb(answer).document for answer in answers]
        return [document for document in documents if document.name]

    def _as_found(self, document: Any) -> Found:
        known = Known.of(decode_fields(document.fields))
        return Found(self._path(document), known, decode_time(document.update_time), document.update_time)

    def _path(self, document: Any) -> str:
        path: str = document.name.removeprefix(f"{self._database}/documents/")
        return path

    def _name(self, path: str) -> str:
        return f"{self._database}/documents/{path}"

    def _read(self, path: str, **consistency: Any) -> tuple[bytes, Snapshot | None]:
        request = api.BatchGetDocumentsRequest.pb()(
            database=self._database, documents=[self._name(path)], **consistency
        )
        transaction, snapshot = b"", None
        for document, begun in self._batch_get(request):
            transaction = begun or transaction
            if document is not None:
                snapshot = _snapshot(path, document)
        return transaction, snapshot

    def _batch_get(self, request: Any) -> Iterator[tuple[Any, bytes]]:
        """Each answer's raw document, if one was found, and the transaction, if one was begun."""
        for wrapped in self._client.batch_get_documents(
            api.BatchGetDocumentsRequest.wrap(request), retry=None, timeout=_REQUEST_SECONDS
        ):
            answer = api.BatchGetDocumentsResponse.pb(wrapped)
            yield (answer.found if answer.HasField("found") else None), answer.transaction

    def _commit(self, write: Any, transaction: bytes = b"") -> Version:
        request = api.CommitRequest.pb()(database=self._database, writes=[write], transaction=transaction)
        answer = self._client.commit(api.CommitRequest.wrap(request), retry=None, timeout=_REQUEST_SECONDS)
        version: Version = api.CommitResponse.pb(answer).write_results[0].update_time
        return version

    def _update(self, path: str, changes: Changes) -> Any:
        return _Write(
            update={"name": self._name(path), "fields": encode_fields(nested(changes))},
            update_mask={"field_paths": list(changes)},
        )


def connect(emulator: str | None) -> FirestoreClient:
    """A client of Google's Firestore, or of the emulator at `host:port`; connects with the first request."""
    if emulator is None:
        return FirestoreClient()
    channel = grpc.insecure_channel(
        emulator, options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    )
    return FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))


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


def _snapshot(path: str, document: Any) -> Snapshot:
    return Snapshot(path, decode_fields(document.fields), decode_time(document.create_time), document.update_time)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (google_errors.FailedPrecondition, google_errors.NotFound, google_errors.AlreadyExists) as error:
        raise Stale(str(error.message)) from error
    except google_errors.InvalidArgument as error:
        raise Unwritable(str(error.message)) from error
    except ValueError as error:  # protobuf: an integer beyond 64 bits, text that is not Unicode
        raise Unwritable("A value can't be stored in Firestore.") from error
    except google_errors.GoogleAPICallError as error:
        raise Unavailable(f"Firestore answered {error.grpc_status_code}: {error.message}") from error

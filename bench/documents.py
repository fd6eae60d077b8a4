"""Writes mail documents as cheaply as Firestore allows, and reads their times and states afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as api
from google.cloud.firestore_v1.types import query as query_types
from google.cloud.firestore_v1.types import write as write_types

from shared.delivery.model import State
from shared.firestore.values import decode_fields, decode_time, encode, encode_fields

_Write = write_types.Write.pb()
_Operator = query_types.StructuredQuery.FieldFilter.Operator

#: Firestore accepts 500 writes per request; with fewer, the first mails start while the last are still being written.
_WRITES_PER_REQUEST = 100
_REQUEST_SECONDS = 120.0
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
#: Google's emulator lets only this caller write in batches.
_EMULATOR_ADMIN = (("authorization", "Bearer owner"),)
#: The field that identifies the documents of one load. Firepost ignores it.
_LOAD = "benchLoad"
_BULK = "_bulk_"


@dataclass(frozen=True, slots=True)
class Written:
    """A document's name, its state, and when it was created and last written: Firestore's own times, UTC."""

    name: str
    state: str
    created: datetime
    updated: datetime


def bulk_name(load: str, number: int) -> str:
    """The name of one of a load's documents in the lane `bulk`."""
    return f"{load}{_BULK}{number}"


def is_bulk(name: str) -> bool:
    """Whether `bulk_name` made the name."""
    return _BULK in name


def mail(name: str, load: str, size: int) -> dict[str, Any]:
    """The document of a mail with about `size` bytes of text and html, to `name`@sink.example."""
    text = "Your order has been shipped. " * max(1, size // 58)
    return {
        "to": f"{name}@sink.example",
        "message": {"subject": f"Order {name}", "text": text, "html": f"<p>{text}</p>"},
        _LOAD: load,
    }


def queued(fields: dict[str, Any]) -> dict[str, Any]:
    """The same document once the dispatcher has queued it."""
    now = datetime.now(UTC)
    return fields | {"delivery": {"state": State.PENDING, "startTime": now, "attempts": 0, "error": None}}


class Documents:
    """The collection of mails in the Firestore at `host:port`."""

    def __init__(self, address: str, project: str, collection: str) -> None:
        channel = grpc.insecure_channel(address, options=_UNLIMITED)
        self._client = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
        self._database = f"projects/{project}/databases/(default)"
        self._collection = collection

    def write(self, documents: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Create documents with these names."""
        for chunk in _chunks(documents, _WRITES_PER_REQUEST):
            writes = [
                _Write(
                    update={
                        "name": f"{self._database}/documents/{self._collection}/{name}",
                        "fields": encode_fields(fields),
                    },
                    current_document={"exists": False},
                )
                for name, fields in chunk
            ]
            request = api.BatchWriteRequest.pb()(database=self._database, writes=writes)
            answer = self._client.batch_write(
                api.BatchWriteRequest.wrap(request), timeout=_REQUEST_SECONDS, metadata=_EMULATOR_ADMIN
            )
            for status in answer.status:
                if status.code:
                    raise RuntimeError(f"Firestore did not write a document: {status.message}")

    def concluded(self, load: str) -> int:
        """How many documents of a load are in a final state."""
        return sum(self._count(load, state) for state in (State.SUCCESS, State.ERROR))

    def all_of(self, load: str) -> list[Written]:
        """All documents of a load."""
        query = {"where": _equals(_LOAD, load), "select": {"fields": [{"field_path": "delivery.state"}]}}
        request = api.RunQueryRequest.pb()(parent=f"{self._database}/documents", structured_query=self._query(query))
        answers = self._client.run_query(api.RunQueryRequest.wrap(request), timeout=_REQUEST_SECONDS)
        documents = (api.RunQueryResponse.pb(answer).document for answer in answers)
        return [_written(document) for document in documents if document.name]

    def _count(self, load: str, state: str) -> int:
        both = {"op": "AND", "filters": [_equals(_LOAD, load), _equals("delivery.state", state)]}
        query = self._query({"where": {"composite_filter": both}})
        request = api.RunAggregationQueryRequest.pb()(
            parent=f"{self._database}/documents",
            structured_aggregation_query={
                "structured_query": query,
                "aggregations": [{"alias": "count", "count": {}}],
            },
        )
        answers = self._client.run_aggregation_query(
            api.RunAggregationQueryRequest.wrap(request), timeout=_REQUEST_SECONDS
        )
        return sum(
            api.RunAggregationQueryResponse.pb(answer).result.aggregate_fields["count"].integer_value
            for answer in answers
        )

    def _query(self, query: dict[str, Any]) -> dict[str, Any]:
        return {**query, "from_": [{"collection_id": self._collection}]}


def _equals(path: str, value: str) -> dict[str, Any]:
    return {"field_filter": {"field": {"field_path": path}, "op": _Operator.EQUAL, "value": encode(value)}}


def _written(document: Any) -> Written:
    delivery = decode_fields(document.fields).get("delivery") or {}
    return Written(
        document.name.rpartition("/")[2],
        delivery.get("state", ""),
        decode_time(document.create_time),
        decode_time(document.update_time),
    )


def _chunks(items: Iterable[Any], size: int) -> Iterable[Sequence[Any]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk

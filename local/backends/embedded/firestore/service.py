"""The Firestore API (google.firestore.v1.Firestore): each method answers the RPC of the same name.

https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.firestore import fields, writes
from local.backends.embedded.firestore.listen import Listener
from local.backends.embedded.firestore.names import check_document_name, check_parent, collection_of
from local.backends.embedded.firestore.protos import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    BatchWriteRequest,
    BatchWriteResponse,
    BeginTransactionRequest,
    BeginTransactionResponse,
    CommitRequest,
    CommitResponse,
    Document,
    GetDocumentRequest,
    ListCollectionIdsRequest,
    ListCollectionIdsResponse,
    ListDocumentsRequest,
    ListDocumentsResponse,
    ListenRequest,
    ListenResponse,
    RollbackRequest,
    RunAggregationQueryRequest,
    RunAggregationQueryResponse,
    RunQueryRequest,
    RunQueryResponse,
    StructuredQuery,
    Write,
    WriteResult,
)
from local.backends.embedded.firestore.query import Query
from local.backends.embedded.firestore.store import Store
from local.backends.embedded.firestore.transactions import Transactions
from local.backends.embedded.rpc import Rpc

SERVICE = "google.firestore.v1.Firestore"

#: Index entries that are counted for the price of one read.
COUNTED_PER_READ = 1_000

_Masked = GetDocumentRequest | BatchGetDocumentsRequest | ListDocumentsRequest
_Asking = RunQueryRequest | RunAggregationQueryRequest


class FirestoreService:
    """Answers the API from one store, which nothing else changes.

    `reads` is the number of documents that it has read for its callers, apart from listeners, as Google bills them: a
    document that is missing costs a read, and so does a query that finds nothing.
    https://firebase.google.com/docs/firestore/pricing#operations
    """

    def __init__(self, store: Store) -> None:
        self.reads = 0
        self._store = store
        self._transactions = Transactions(store.documents, time.monotonic)
        self._lock = threading.RLock()

    def rpcs(self) -> Mapping[str, Rpc]:
        """The methods by RPC name."""
        return {
            "BatchGetDocuments": Rpc(self.batch_get_documents, BatchGetDocumentsRequest, streams=True),
            "BatchWrite": Rpc(self.batch_write, BatchWriteRequest),
            "BeginTransaction": Rpc(self.begin_transaction, BeginTransactionRequest),
            "Commit": Rpc(self.commit, CommitRequest),
            "GetDocument": Rpc(self.get_document, GetDocumentRequest),
            "ListCollectionIds": Rpc(self.list_collection_ids, ListCollectionIdsRequest),
            "ListDocuments": Rpc(self.list_documents, ListDocumentsRequest),
            "Listen": Rpc(self.listen, ListenRequest, streams=True, takes_stream=True),
            "Rollback": Rpc(self.rollback, RollbackRequest),
            "RunAggregationQuery": Rpc(self.run_aggregation_query, RunAggregationQueryRequest, streams=True),
            "RunQuery": Rpc(self.run_query, RunQueryRequest, streams=True),
        }

    def get_document(self, request: GetDocumentRequest, _: grpc.ServicerContext) -> Document:
        """One document, or NOT_FOUND."""
        check_document_name(request.name)
        _refuse_past(request)
        with self._lock:
            document = self._read(request.transaction, request.name)
        if document is None:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Document ({request.name}) not found.")
        return masked(document, request)

    def batch_get_documents(
        self, request: BatchGetDocumentsRequest, _: grpc.ServicerContext
    ) -> Iterator[BatchGetDocumentsResponse]:
        """All documents as of one moment; each is found or missing, and answered once even if requested repeatedly."""
        _refuse_past(request)
        names = dict.fromkeys(request.documents)
        for name in names:
            check_document_name(name)
        with self._lock:
            transaction = self._begun(request)
            documents = {name: self._read(transaction, name) for name in names}
            read_time = self._store.clock.tick()
        if request.HasField("new_transaction"):
            yield BatchGetDocumentsResponse(transaction=transaction)
        for name, document in documents.items():
            if document is None:
                yield BatchGetDocumentsResponse(missing=name, read_time=read_time)
            else:
                yield BatchGetDocumentsResponse(found=masked(document, request), read_time=read_time)

    def begin_transaction(self, request: BeginTransactionRequest, _: grpc.ServicerContext) -> BeginTransactionResponse:
        """Open a transaction: read-write unless requested as read-only."""
        with self._lock:
            return BeginTransactionResponse(transaction=self._transactions.begin(request.options))

    def commit(self, request: CommitRequest, _: grpc.ServicerContext) -> CommitResponse:
        """Apply all writes or none; in a transaction, only if its reads are still valid."""
        writes.check_together(request.writes)
        with self._lock:
            if request.transaction:
                self._transactions.conclude(request.transaction, bool(request.writes))
            results, commit_time = self._store.commit(request.writes)
        return CommitResponse(write_results=results, commit_time=commit_time)

    def rollback(self, request: RollbackRequest, _: grpc.ServicerContext) -> Empty:
        """Close a transaction without its writes; closing it again is allowed."""
        with self._lock:
            self._transactions.roll_back(request.transaction)
        return Empty()

    def batch_write(self, request: BatchWriteRequest, _: grpc.ServicerContext) -> BatchWriteResponse:
        """Apply each write independently; a malformed one fails the whole request."""
        for write in request.writes:
            writes.check(write)
        if len({writes.target_of(write) for write in request.writes}) < len(request.writes):
            raise invalid("the same document cannot be written more than once in a single request")
        response = BatchWriteResponse()
        with self._lock:
            for write in request.writes:
                self._write_alone(write, response)
        return response

    def run_query(self, request: RunQueryRequest, _: grpc.ServicerContext) -> Iterator[RunQueryResponse]:
        """The documents that a query finds; if none, one response with only the read time."""
        query = self._query(request, request.structured_query)
        with self._lock:
            transaction = self._begun(request)
            documents = self._find(transaction, query)
            self.reads += max(1, len(documents))
            read_time = self._store.clock.tick()
        if request.HasField("new_transaction"):
            yield RunQueryResponse(transaction=transaction)
        if not documents:
            yield RunQueryResponse(read_time=read_time)
        for document in documents:
            yield RunQueryResponse(document=query.projected(document), read_time=read_time)

    def run_aggregation_query(
        self, request: RunAggregationQueryRequest, _: grpc.ServicerContext
    ) -> Iterator[RunAggregationQueryResponse]:
        """The number of documents that a query finds."""
        query = self._query(request, request.structured_aggregation_query.structured_query)
        with self._lock:
            transaction = self._begun(request)
            found = len(self._find(transaction, query))
            self.reads += max(1, math.ceil(found / COUNTED_PER_READ))
            read_time = self._store.clock.tick()
        response = RunAggregationQueryResponse(read_time=read_time)
        if request.HasField("new_transaction"):
            response.transaction = transaction
        for number, aggregation in enumerate(request.structured_aggregation_query.aggregations, 1):
            if not aggregation.HasField("count"):
                raise unsupported("aggregations other than count")
            count = min(found, aggregation.count.up_to.value) if aggregation.count.HasField("up_to") else found
            alias = aggregation.alias or f"field_{number}"
            response.result.aggregate_fields[alias].integer_value = count
        yield response

    def list_documents(self, request: ListDocumentsRequest, _: grpc.ServicerContext) -> ListDocumentsResponse:
        """One page of a collection, by name."""
        _refuse_past(request)
        if request.order_by not in ("", fields.NAME):
            raise unsupported("ListDocuments with another order_by than __name__")
        with self._lock:
            collection = f"{request.parent}/{request.collection_id}"
            documents = (
                self._transactions.query(request.transaction, lambda seen: seen.members(collection))
                if request.transaction
                else list(self._store.documents.members(collection))
            )
            if request.show_missing:
                documents += self._missing(collection)
        shown = page(sorted(documents, key=lambda document: document.name), request)
        with self._lock:
            self.reads += max(1, len(shown.documents))
        return shown

    def list_collection_ids(
        self, request: ListCollectionIdsRequest, _: grpc.ServicerContext
    ) -> ListCollectionIdsResponse:
        """The collections directly below a document or the root, on one page."""
        check_parent(request.parent)
        with self._lock:
            return ListCollectionIdsResponse(
                collection_ids=sorted(
                    name.rpartition("/")[2]
                    for name in self._store.documents.collections()
                    if name.rpartition("/")[0] == request.parent
                )
            )

    def listen(self, requests: Iterator[ListenRequest], context: grpc.ServicerContext) -> Iterator[ListenResponse]:
        """Snapshots of documents and queries as they change."""
        return Listener(self._store, self._lock).serve(requests, context)

    def _write_alone(self, write: Write, response: BatchWriteResponse) -> None:
        try:
            (result,), _ = self._store.commit([write])
            status = Status()
        except Failure as failure:
            result, status = WriteResult(), Status(code=failure.code.value[0], message=failure.text)
        response.write_results.append(result)
        response.status.append(status)

    def _query(self, request: _Asking, query: StructuredQuery) -> Query:
        _refuse_past(request)
        if request.HasField("explain_options"):
            raise unsupported("query plans (explain_options)")
        return Query(request.parent, query)

    def _find(self, transaction: bytes, query: Query) -> list[Document]:
        if transaction:
            return self._transactions.query(transaction, query.run)
        return query.run(self._store.documents)

    def _begun(self, request: BatchGetDocumentsRequest | _Asking) -> bytes:
        """The transaction that a read belongs to: a new one if requested, or none."""
        if request.HasField("new_transaction"):
            return self._transactions.begin(request.new_transaction)
        transaction: bytes = request.transaction
        return transaction

    def _missing(self, collection: str) -> list[Document]:
        """Documents that don't exist but have collections below them."""
        parents = {collection_of(name) for name in self._store.documents.collections() if name.startswith(collection)}
        return [
            Document(name=name)
            for name in parents
            if collection_of(name) == collection and self._store.documents.get(name) is None
        ]

    def _read(self, transaction: bytes, name: str) -> Document | None:
        self.reads += 1
        if transaction:
            return self._transactions.read(transaction, name)
        return self._store.documents.get(name)


def page(documents: Sequence[Document], request: ListDocumentsRequest) -> ListDocumentsResponse:
    """The sorted documents that come after the request's token, which is a document's name."""
    rest = [document for document in documents if document.name > request.page_token]
    size = request.page_size or len(rest)
    shown = [masked(document, request) for document in rest[:size]]
    return ListDocumentsResponse(documents=shown, next_page_token=shown[-1].name if len(rest) > size else "")


def masked(
    document: Document, request: GetDocumentRequest | BatchGetDocumentsRequest | ListDocumentsRequest
) -> Document:
    """The document with the fields of the request's mask, or whole if there is none."""
    if not request.HasField("mask"):
        return document
    return fields.only(document, map(fields.parse, request.mask.field_paths))


def _refuse_past(request: _Masked | _Asking) -> None:
    if request.HasField("read_time"):
        raise unsupported("reads in the past (read_time)")

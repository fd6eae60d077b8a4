"""The Firestore API (google.firestore.v1.Firestore): each method answers the RPC of the same name.

https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.firestore import fields, writes
from local.backends.embedded.firestore.aggregates import Aggregates
from local.backends.embedded.firestore.documents import View
from local.backends.embedded.firestore.listen import Listener
from local.backends.embedded.firestore.names import check_document_name, check_parent
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
    WriteRequest,
    WriteResponse,
    WriteResult,
)
from local.backends.embedded.firestore.query import Query
from local.backends.embedded.firestore.store import Store
from local.backends.embedded.firestore.transactions import Snapshot, Transactions
from local.backends.embedded.firestore.values import name_key
from local.backends.embedded.rpc import Rpc

SERVICE = "google.firestore.v1.Firestore"

#: Index entries that are counted for the price of one read.
COUNTED_PER_READ = 1_000

_Masked = GetDocumentRequest | BatchGetDocumentsRequest | ListDocumentsRequest
_Asking = RunQueryRequest | RunAggregationQueryRequest
_Reading = _Masked | _Asking | ListCollectionIdsRequest


class FirestoreService:
    """Answers the API from one store, which nothing else changes.

    `reads` is the number of documents that it has read for its callers, apart from listeners, as Google bills them: a
    document that is missing costs a read, and so does a query that finds nothing.
    https://firebase.google.com/docs/firestore/pricing#operations
    """

    def __init__(self, store: Store) -> None:
        self.reads = 0
        self._store = store
        self._transactions = Transactions(store, time.monotonic)
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
            "Write": Rpc(self.write, WriteRequest, streams=True, takes_stream=True),
        }

    def get_document(self, request: GetDocumentRequest, _: grpc.ServicerContext) -> Document:
        """One document, or NOT_FOUND."""
        check_document_name(request.name)
        with self._lock:
            _begun, snapshot = self._snapshot(request)
            self.reads += 1
            document = snapshot.get(request.name)
        if document is None:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Document ({request.name}) not found.")
        return masked(document, request)

    def batch_get_documents(
        self, request: BatchGetDocumentsRequest, _: grpc.ServicerContext
    ) -> Iterator[BatchGetDocumentsResponse]:
        """All documents as of one moment; each is found or missing, and answered once even if requested repeatedly."""
        names = dict.fromkeys(request.documents)
        for name in names:
            check_document_name(name)
        with self._lock:
            begun, snapshot = self._snapshot(request)
            self.reads += len(names)
            documents = {name: snapshot.get(name) for name in names}
        if begun:
            yield BatchGetDocumentsResponse(transaction=begun)
        for name, document in documents.items():
            if document is None:
                yield BatchGetDocumentsResponse(missing=name, read_time=snapshot.time)
            else:
                yield BatchGetDocumentsResponse(found=masked(document, request), read_time=snapshot.time)

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

    def write(self, requests: Iterator[WriteRequest], _: grpc.ServicerContext) -> Iterator[WriteResponse]:
        """Commits in a row, as web and mobile SDKs send them; the first request only opens the stream.

        A commit that fails ends the stream with its error. Each token names an answer; streams can't be resumed.
        """
        with contextlib.suppress(grpc.RpcError):  # a broken stream: this is how clients end it
            for number, request in enumerate(requests):
                response = WriteResponse(stream_token=str(number).encode())
                if number == 0:
                    if request.stream_id or request.writes:
                        raise invalid("The first request of a Write stream must name the database, and nothing else.")
                    response.stream_id = uuid.uuid4().hex
                else:
                    writes.check_together(request.writes)
                    with self._lock:
                        results, commit_time = self._store.commit(request.writes)
                    response.write_results.extend(results)
                    response.commit_time.CopyFrom(commit_time)
                yield response

    def run_query(self, request: RunQueryRequest, _: grpc.ServicerContext) -> Iterator[RunQueryResponse]:
        """The documents that a query finds; if none, one response with only the read time."""
        query = self._query(request, request.structured_query)
        with self._lock:
            begun, snapshot = self._snapshot(request)
            documents = snapshot.find(query.run)
            self.reads += max(1, len(documents))
        if begun:
            yield RunQueryResponse(transaction=begun)
        if not documents:
            yield RunQueryResponse(read_time=snapshot.time)
        for document in documents:
            yield RunQueryResponse(document=query.projected(document), read_time=snapshot.time)

    def run_aggregation_query(
        self, request: RunAggregationQueryRequest, _: grpc.ServicerContext
    ) -> Iterator[RunAggregationQueryResponse]:
        """Numbers about the documents that a query finds."""
        asked = request.structured_aggregation_query
        aggregates = Aggregates(asked.aggregations)
        query = self._query(request, asked.structured_query, aggregates.paths)
        with self._lock:
            begun, snapshot = self._snapshot(request)
            documents = snapshot.find(query.run)
            self.reads += max(1, math.ceil(len(documents) / COUNTED_PER_READ))
        response = RunAggregationQueryResponse(read_time=snapshot.time, transaction=begun)
        for alias, value in aggregates.of(documents):
            response.result.aggregate_fields[alias].CopyFrom(value)
        yield response

    def list_documents(self, request: ListDocumentsRequest, _: grpc.ServicerContext) -> ListDocumentsResponse:
        """One page of a collection, by name."""
        if request.order_by not in ("", fields.NAME):
            raise unsupported("ListDocuments with another order_by than __name__")
        collection = f"{request.parent}/{request.collection_id}"
        with self._lock:
            _begun, snapshot = self._snapshot(request)
            missing = _missing(snapshot.view, collection) if request.show_missing else ()
            documents = [*snapshot.find(lambda view: view.members(collection)), *missing]
            shown = page(sorted(documents, key=lambda document: name_key(document.name)), request)
            self.reads += max(1, len(shown.documents))
        return shown

    def list_collection_ids(
        self, request: ListCollectionIdsRequest, _: grpc.ServicerContext
    ) -> ListCollectionIdsResponse:
        """The collections directly below a document or the root, on one page."""
        check_parent(request.parent)
        with self._lock:
            _begun, snapshot = self._snapshot(request)
            found = {_next(name, request.parent) for name in snapshot.view.collections()} - {""}
        return ListCollectionIdsResponse(collection_ids=sorted(found))

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

    def _query(self, request: _Asking, query: StructuredQuery, aggregated: Collection[fields.Path] = ()) -> Query:
        if request.HasField("explain_options"):
            raise unsupported("query plans (explain_options)")
        return Query(request.parent, query, aggregated)

    def _snapshot(self, request: _Reading) -> tuple[bytes, Snapshot]:
        """The id of the transaction that a read begins, or nothing, and what it reads."""
        match request.WhichOneof("consistency_selector"):
            case "transaction":
                return b"", self._transactions.snapshot(request.transaction)
            case "new_transaction":
                begun = self._transactions.begin(request.new_transaction)
                return begun, self._transactions.snapshot(begun)
            case "read_time":
                return b"", Snapshot(self._store.past(request.read_time), request.read_time)
        return b"", Snapshot(self._store.documents, self._store.clock.tick())


def page(documents: Sequence[Document], request: ListDocumentsRequest) -> ListDocumentsResponse:
    """The sorted documents that come after the request's token, which is a document's name."""
    begin = name_key(request.page_token)
    rest = [document for document in documents if name_key(document.name) > begin] if request.page_token else documents
    size = request.page_size or len(rest)
    shown = [masked(document, request) for document in rest[:size]]
    return ListDocumentsResponse(documents=shown, next_page_token=shown[-1].name if len(rest) > size else "")


def masked(document: Document, request: _Masked) -> Document:
    """The document with the fields of the request's mask, or whole if there is none."""
    if not request.HasField("mask"):
        return document
    return fields.only(document, map(fields.parse, request.mask.field_paths))


def _missing(view: View, collection: str) -> Iterator[Document]:
    """Documents that don't exist but have documents below them."""
    for identifier in {_next(name, collection) for name in view.collections()} - {""}:
        if view.get(f"{collection}/{identifier}") is None:
            yield Document(name=f"{collection}/{identifier}")


def _next(name: str, above: str) -> str:
    """The segment of a name that follows `above`; empty if it lies elsewhere."""
    return name[len(above) + 1 :].partition("/")[0] if name.startswith(f"{above}/") else ""

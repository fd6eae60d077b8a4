"""The raw protobuf classes behind the Firestore client's own types.

The client wraps every message in proto-plus, which costs several times as much as the actual work. The wrappers
describe the fields of the raw classes, so type checkers see those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud.firestore_v1 import types

if TYPE_CHECKING:
    from google.cloud.firestore_v1.types import (
        AggregationResult,
        BatchGetDocumentsRequest,
        BatchGetDocumentsResponse,
        BatchWriteRequest,
        BatchWriteResponse,
        BeginTransactionRequest,
        BeginTransactionResponse,
        CommitRequest,
        CommitResponse,
        Cursor,
        Document,
        DocumentMask,
        DocumentTransform,
        GetDocumentRequest,
        ListCollectionIdsRequest,
        ListCollectionIdsResponse,
        ListDocumentsRequest,
        ListDocumentsResponse,
        ListenRequest,
        ListenResponse,
        Precondition,
        RollbackRequest,
        RunAggregationQueryRequest,
        RunAggregationQueryResponse,
        RunQueryRequest,
        RunQueryResponse,
        StructuredAggregationQuery,
        StructuredQuery,
        Target,
        TargetChange,
        TransactionOptions,
        Value,
        Write,
        WriteRequest,
        WriteResponse,
        WriteResult,
    )
else:
    AggregationResult = types.AggregationResult.pb()
    BatchGetDocumentsRequest = types.BatchGetDocumentsRequest.pb()
    BatchGetDocumentsResponse = types.BatchGetDocumentsResponse.pb()
    BatchWriteRequest = types.BatchWriteRequest.pb()
    BatchWriteResponse = types.BatchWriteResponse.pb()
    BeginTransactionRequest = types.BeginTransactionRequest.pb()
    BeginTransactionResponse = types.BeginTransactionResponse.pb()
    CommitRequest = types.CommitRequest.pb()
    CommitResponse = types.CommitResponse.pb()
    Cursor = types.Cursor.pb()
    Document = types.Document.pb()
    DocumentMask = types.DocumentMask.pb()
    DocumentTransform = types.DocumentTransform.pb()
    GetDocumentRequest = types.GetDocumentRequest.pb()
    ListCollectionIdsRequest = types.ListCollectionIdsRequest.pb()
    ListCollectionIdsResponse = types.ListCollectionIdsResponse.pb()
    ListDocumentsRequest = types.ListDocumentsRequest.pb()
    ListDocumentsResponse = types.ListDocumentsResponse.pb()
    ListenRequest = types.ListenRequest.pb()
    ListenResponse = types.ListenResponse.pb()
    Precondition = types.Precondition.pb()
    RollbackRequest = types.RollbackRequest.pb()
    RunAggregationQueryRequest = types.RunAggregationQueryRequest.pb()
    RunAggregationQueryResponse = types.RunAggregationQueryResponse.pb()
    RunQueryRequest = types.RunQueryRequest.pb()
    RunQueryResponse = types.RunQueryResponse.pb()
    StructuredAggregationQuery = types.StructuredAggregationQuery.pb()
    StructuredQuery = types.StructuredQuery.pb()
    Target = types.Target.pb()
    TargetChange = types.TargetChange.pb()
    TransactionOptions = types.TransactionOptions.pb()
    Value = types.Value.pb()
    Write = types.Write.pb()
    WriteRequest = types.WriteRequest.pb()
    WriteResponse = types.WriteResponse.pb()
    WriteResult = types.WriteResult.pb()

__all__ = [
    "AggregationResult",
    "BatchGetDocumentsRequest",
    "BatchGetDocumentsResponse",
    "BatchWriteRequest",
    "BatchWriteResponse",
    "BeginTransactionRequest",
    "BeginTransactionResponse",
    "CommitRequest",
    "CommitResponse",
    "Cursor",
    "Document",
    "DocumentMask",
    "DocumentTransform",
    "GetDocumentRequest",
    "ListCollectionIdsRequest",
    "ListCollectionIdsResponse",
    "ListDocumentsRequest",
    "ListDocumentsResponse",
    "ListenRequest",
    "ListenResponse",
    "Precondition",
    "RollbackRequest",
    "RunAggregationQueryRequest",
    "RunAggregationQueryResponse",
    "RunQueryRequest",
    "RunQueryResponse",
    "StructuredAggregationQuery",
    "StructuredQuery",
    "Target",
    "TargetChange",
    "TransactionOptions",
    "Value",
    "Write",
    "WriteRequest",
    "WriteResponse",
    "WriteResult",
]

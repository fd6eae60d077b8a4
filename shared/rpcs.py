"""Firestore's gRPC methods on raw protobufs, without the layers of the generated client.

Wrapping every message, a retry and a time-out decorator, a logging interceptor and a second thread for each stream cost
that client about as much CPU as all the rest of a request (docs/decisions/0006). What it does for its callers is done
here as well: credentials, the end points it knows, and the headers by which Google routes a request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import grpc
from google.api_core.gapic_v1 import routing_header
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as api

#: A single request's time-out; a healthy Firestore answers in a fraction of it.
REQUEST_SECONDS = 10.0

_ONE_THREAD = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
_ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def connect(emulator: str | None) -> grpc.Channel:
    """A channel to Google's Firestore, or to the emulator at `host:port`; it connects with the first request.

    Google's end point and the credentials are those that the generated client finds. Raises
    `google.auth.exceptions.DefaultCredentialsError` when there are none.
    """
    if emulator is not None:
        return grpc.insecure_channel(emulator, options=[*_ANY_SIZE, _ONE_THREAD])
    client = FirestoreClient(transport=partial(FirestoreGrpcTransport, channel=_open))
    channel: grpc.Channel = cast(FirestoreGrpcTransport, client.transport).grpc_channel
    return channel


def _open(host: str, *, options: list[tuple[str, Any]], **settings: Any) -> grpc.Channel:
    channel: grpc.Channel = FirestoreGrpcTransport.create_channel(host, options=[*options, _ONE_THREAD], **settings)
    return channel


class Rpcs:
    """The methods by their names: each takes a raw request, and gives its raw answer or an iterator of them.

    They raise `grpc.RpcError`; nothing is repeated.
    """

    def __init__(self, channel: grpc.Channel, database: str) -> None:
        """`database` is the full name, `projects/…/databases/…`."""
        self._prefix = ("google-cloud-resource-prefix", database)
        unary, stream = channel.unary_unary, channel.unary_stream
        self.batch_get_documents = self._rpc(stream, api.BatchGetDocumentsRequest, api.BatchGetDocumentsResponse)
        self.batch_write = self._rpc(unary, api.BatchWriteRequest, api.BatchWriteResponse)
        self.commit = self._rpc(unary, api.CommitRequest, api.CommitResponse)
        self.rollback = self._rpc(unary, api.RollbackRequest, None)
        self.run_query = self._rpc(stream, api.RunQueryRequest, api.RunQueryResponse, routed_by="parent")

    def _rpc(self, kind: Any, request: Any, response: Any, routed_by: str = "database") -> Callable[[Any], Any]:
        name = request.__name__.removesuffix("Request")
        method = kind(
            f"/google.firestore.v1.Firestore/{name}",
            request_serializer=request.pb().SerializeToString,
            response_deserializer=response and response.pb().FromString,
        )

        def call(message: Any) -> Any:
            route = routing_header.to_grpc_metadata(((routed_by, getattr(message, routed_by)),))
            return method(message, timeout=REQUEST_SECONDS, metadata=(self._prefix, route))

        return call

"""Firestore's gRPC methods on raw protobufs, without the layers of the generated client.

Wrapping every message, a retry and a time-out decorator, a logging interceptor and a second thread for each stream cost
that client about as much CPU as all the rest of a request (docs/decisions/0007). What it does for its callers is done
here as well: credentials, the end points it knows, and the headers by which Google routes a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import grpc
from google.api_core.gapic_v1 import routing_header
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as api

from shared.batcher import REQUEST_SECONDS

_ONE_THREAD = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
_ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


#: To Google's emulator everybody is a client that security rules apply to, and may not write in batches, but this one.
_EMULATORS_ADMIN = ("authorization", "Bearer owner")


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel, and the headers that each request over it bears."""

    channel: grpc.Channel
    headers: tuple[tuple[str, str], ...] = ()

    def close(self) -> None:
        """End it; requests under way fail."""
        self.channel.close()


def connect(emulator: str | None) -> Connection:
    """Google's Firestore, or the emulator at `host:port`; it connects with the first request.

    Google's end point and the credentials are those that the generated client finds. Raises
    `google.auth.exceptions.DefaultCredentialsError` when there are none.
    """
    if emulator is not None:
        return Connection(grpc.insecure_channel(emulator, options=[*_ANY_SIZE, _ONE_THREAD]), (_EMULATORS_ADMIN,))
    client = FirestoreClient(transport=partial(FirestoreGrpcTransport, channel=_open))
    return Connection(cast(FirestoreGrpcTransport, client.transport).grpc_channel)


def _open(host: str, *, options: list[tuple[str, Any]], **settings: Any) -> grpc.Channel:
    channel: grpc.Channel = FirestoreGrpcTransport.create_channel(host, options=[*options, _ONE_THREAD], **settings)
    return channel


class Rpcs:
    """The methods by their names: each takes a raw request, and gives its raw answer or an iterator of them.

    They raise `grpc.RpcError`; nothing is repeated.
    """

    def __init__(self, connection: Connection, database: str) -> None:
        """`database` is the full name, `projects/…/databases/…`."""
        self._headers = (*connection.headers, ("google-cloud-resource-prefix", database))
        unary, stream = connection.channel.unary_unary, connection.channel.unary_stream
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
            return method(message, timeout=REQUEST_SECONDS, metadata=(*self._headers, route))

        return call

"""The way to Firestore: the generated client's transport, below its retries, its time-outs and its wrapped requests.

Its stubs take raw protobufs. What the client adds for its callers is added here: credentials and end points are those
that it finds, and each request bears the headers by which Google routes it. Nothing is repeated here.
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

from shared.batcher import REQUEST_SECONDS

#: Otherwise gRPC gives every stream a second thread, which costs as much CPU as the rest of a read.
_ONE_THREAD = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
_ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

#: To Google's emulator everybody is a client that security rules apply to, and may not write in batches, but this one.
_EMULATORS_ADMIN = ("authorization", "Bearer owner")


#: A raw protobuf that a stub takes, and what it answers: one, or a stream of them. Their classes are made at run time.
RawRequest = Any
RawAnswer = Any


@dataclass(frozen=True, slots=True)
class Connection:
    """A transport, and the headers that each request over it bears."""

    transport: FirestoreGrpcTransport
    headers: tuple[tuple[str, str], ...] = ()

    def call(
        self, method: Callable[..., RawAnswer], request: RawRequest, database: str, routed_by: str = "database"
    ) -> RawAnswer:
        """What one of the transport's methods answers to a raw request; raises `grpc.RpcError`.

        `database` is the full name, `projects/…/databases/…`, and `routed_by` the field that tells Google the way.
        """
        route = routing_header.to_grpc_metadata(((routed_by, getattr(request, routed_by)),))
        headers = (*self.headers, ("google-cloud-resource-prefix", database), route)
        return method(request, timeout=REQUEST_SECONDS, metadata=headers)

    def close(self) -> None:
        """End it; requests under way fail."""
        self.transport.close()


def connect_firestore(emulator: str | None) -> Connection:
    """Google's Firestore, or the emulator at `host:port`; it connects with the first request.

    Raises `google.auth.exceptions.DefaultCredentialsError` when there are no credentials.
    """
    if emulator is not None:
        channel = grpc.insecure_channel(emulator, options=[*_ANY_SIZE, _ONE_THREAD])
        return Connection(FirestoreGrpcTransport(channel=channel), (_EMULATORS_ADMIN,))
    client = FirestoreClient(transport=partial(FirestoreGrpcTransport, channel=_open))
    return Connection(cast(FirestoreGrpcTransport, client.transport))


def _open(host: str, *, options: list[tuple[str, Any]], **settings: Any) -> grpc.Channel:
    channel: grpc.Channel = FirestoreGrpcTransport.create_channel(host, options=[*options, _ONE_THREAD], **settings)
    return channel

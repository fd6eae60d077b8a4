"""A connection to Firestore: the generated client's transport, without its retries, time-outs and wrapped requests.

The stubs take raw protobufs. What the client adds for its callers is added here: the credentials and the endpoint are
those that it finds, and each request carries Google's routing headers. Nothing is retried here.
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

#: Without this, gRPC gives every stream a second thread, which costs as much CPU as the rest of a read.
_ONE_THREAD = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
_UNLIMITED_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

#: Google's emulator applies security rules to every caller but this one, and lets only this one write in batches.
_EMULATOR_ADMIN = ("authorization", "Bearer owner")


#: A raw protobuf that a stub takes, and what it answers: one, or a stream of them. Their classes are made at run time.
RawRequest = Any
RawAnswer = Any


@dataclass(frozen=True, slots=True)
class Connection:
    """A transport, and the headers that each request over it carries."""

    transport: FirestoreGrpcTransport
    headers: tuple[tuple[str, str], ...] = ()

    def call(
        self, method: Callable[..., RawAnswer], request: RawRequest, database: str, routed_by: str = "database"
    ) -> RawAnswer:
        """Call one of the transport's methods with a raw request; raises `grpc.RpcError`.

        `database` is the full name, `projects/…/databases/…`, and `routed_by` the field that Google routes by.
        """
        route = routing_header.to_grpc_metadata(((routed_by, getattr(request, routed_by)),))
        headers = (*self.headers, ("google-cloud-resource-prefix", database), route)
        return method(request, timeout=REQUEST_SECONDS, metadata=headers)

    def close(self) -> None:
        """Close the connection; requests in flight fail."""
        self.transport.close()


def connect_firestore(emulator: str | None) -> Connection:
    """Connect to Google's Firestore, or to the emulator at `host:port`, when the first request is made.

    Raises `google.auth.exceptions.DefaultCredentialsError` if there are no credentials.
    """
    if emulator is not None:
        channel = grpc.insecure_channel(emulator, options=[*_UNLIMITED_SIZE, _ONE_THREAD])
        return Connection(FirestoreGrpcTransport(channel=channel), (_EMULATOR_ADMIN,))
    client = FirestoreClient(transport=partial(FirestoreGrpcTransport, channel=_open))
    return Connection(cast(FirestoreGrpcTransport, client.transport))


def _open(host: str, *, options: list[tuple[str, Any]], **settings: Any) -> grpc.Channel:
    channel: grpc.Channel = FirestoreGrpcTransport.create_channel(host, options=[*options, _ONE_THREAD], **settings)
    return channel

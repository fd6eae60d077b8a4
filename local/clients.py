"""Google's clients, connected to the stack's own Firestore and Pub/Sub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import grpc
from google.cloud import firestore
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

#: What comes back from a pull may be larger than gRPC's 4 MB.
_ANY_SIZE = (("grpc.max_receive_message_length", -1),)


class _Client(firestore.Client):
    """A client whose `close` closes its channel, which the library's leaves open.

    A listener's stream that is left on an open channel is opened again without a pause when its server has gone.
    """

    def close(self) -> None:
        super().close()  # type: ignore[no-untyped-call]
        self._firestore_api.transport.close()


def firestore_client(address: str, project: str) -> firestore.Client:
    """A client of the Firestore at `host:port`.

    The library reads an emulator's address only from the environment, when the client is created.
    """
    with _variable("FIRESTORE_EMULATOR_HOST", address):
        return _Client(project=project)


def firestore_api(address: str) -> FirestoreClient:
    """A client of the Firestore at `host:port`, for raw requests."""
    return FirestoreClient(transport=FirestoreGrpcTransport(channel=grpc.insecure_channel(address)))


def async_firestore_client(address: str, project: str) -> firestore.AsyncClient:
    """An asynchronous client of the Firestore at `host:port`."""
    with _variable("FIRESTORE_EMULATOR_HOST", address):
        return firestore.AsyncClient(project=project)


def publisher_client(address: str) -> PublisherClient:
    """A client of the Pub/Sub at `host:port`, for topics and unbatched publishing."""
    return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(address)))


def subscriber_client(address: str) -> SubscriberClient:
    """A client of the Pub/Sub at `host:port`, for subscriptions and synchronous pull."""
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(address, _ANY_SIZE)))


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

"""Publisher that returns only after Pub/Sub confirms. Also the client factories."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

import grpc
import tenacity
from google.api_core.gapic_v1 import routing_header
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import pubsub as api

from shared.batcher import REQUEST_SECONDS, Batcher, Batching, in_requests
from shared.errors import Unavailable

#: Seconds for which a transient failure is retried; after that, the caller's own retry takes over.
_RETRY_SECONDS = 5.0

#: How concurrent messages share a request.
_BATCHING = Batching(size=100, wait_seconds=0.003)

#: Codes that mean that the message itself is wrong, and that it would be refused again.
_REFUSED = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE})

#: The variable in which Google's libraries find the emulator's address, and what they allow it.
_EMULATOR = "PUBSUB_EMULATOR_HOST"
_ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL})

#: Messages in one request: https://cloud.google.com/pubsub/quotas#resource_limits
MAX_MESSAGES: Final = 1_000

_Message = api.PubsubMessage.pb()
_Request = api.PublishRequest.pb()

#: A raw `PubsubMessage`, whose class is made at run time.
RawMessage = Any

#: A message's data and attributes.
Message = tuple[bytes, Mapping[str, str]]


class Unpublishable(Unavailable):
    """Pub/Sub refuses the message, or Eventarc the event, and will refuse it again.

    To callers that can't report this anywhere it is an `Unavailable` like others: they leave it to Pub/Sub's or
    Eventarc's limit on retries.
    """


class Publisher(Protocol):
    """A topic to publish to."""

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Return once the message is safely in the topic.

        Raises `Unpublishable` if Pub/Sub refuses the message for good, `Unavailable` if it may not be in the topic.
        """
        ...


class BulkPublisher(Publisher, Protocol):
    """A topic that also accepts many messages in one request."""

    def publish_all(self, messages: Sequence[Message]) -> Sequence[str | Unavailable]:
        """Each message's id, or an error if it may not be in the topic."""
        ...


class TopicPublisher:
    """`BulkPublisher` over the Pub/Sub API. Concurrent calls share requests.

    The client library's own batching, with a thread per batch and a future per message, cost more than the rest of
    publishing.
    """

    def __init__(self, client: PublisherClient, project: str, topic: str) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._metadata = (routing_header.to_grpc_metadata((("topic", self._topic),)),)
        transport = cast(PublisherGrpcTransport, client.transport)
        self._request = transport.grpc_channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            request_serializer=_Request.SerializeToString,
            response_deserializer=api.PublishResponse.pb().FromString,
        )
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_transient),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            stop=tenacity.stop_after_delay(_RETRY_SECONDS),
            reraise=True,
        )
        self._batcher: Batcher[Message, str] = Batcher(self.publish_all, _BATCHING)

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """See `Publisher.publish`."""
        self._batcher.submit((data, attributes))

    def publish_all(self, messages: Sequence[Message]) -> Sequence[str | Unavailable]:
        """See `BulkPublisher.publish_all`."""
        encoded = [_Message(data=data, attributes=attributes) for data, attributes in messages]
        return [answer for request in in_requests(encoded, _size, MAX_MESSAGES) for answer in self._answers(request)]

    def _answers(self, messages: Sequence[RawMessage]) -> Sequence[str | Unavailable]:
        """Publish one request, which is split if it is refused because of one message."""
        try:
            return self._ids(messages)
        except grpc.RpcError as error:
            if len(messages) > 1 and error.code() in _REFUSED:
                return [answer for message in messages for answer in self._answers([message])]
            kind = Unpublishable if error.code() in _REFUSED else Unavailable
            return [kind(f"Pub/Sub did not accept the message: {error.code().name}") for _ in messages]

    def _ids(self, messages: Sequence[RawMessage]) -> Sequence[str]:
        request = _Request(topic=self._topic, messages=messages)
        answer = self._retrying(self._request, request, timeout=REQUEST_SECONDS, metadata=self._metadata)
        ids: Sequence[str] = answer.message_ids
        return ids


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() in _PASSING


def _size(message: RawMessage) -> int:
    size: int = message.ByteSize()
    return size


def connect_publisher() -> PublisherClient:
    """A publisher client of Google's Pub/Sub, or of the emulator in `PUBSUB_EMULATOR_HOST`.

    The generated one: what the library puts around it for batches and streams is not used, and takes time to import.
    """
    if emulator := os.environ.get(_EMULATOR):
        return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator, _ANY_SIZE)))
    return PublisherClient()


def connect_subscriber() -> SubscriberClient:
    """A subscriber client of the same."""
    if emulator := os.environ.get(_EMULATOR):
        return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(emulator, _ANY_SIZE)))
    return SubscriberClient()

"""Publishing, with an answer: a message is only published when Pub/Sub has said so. And the clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc
import tenacity
from google.api_core.gapic_v1 import routing_header
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.types import pubsub as api

from shared.coalescer import REQUEST_SECONDS, Coalescer
from shared.errors import Unavailable

#: For how many seconds a request that failed for a moment is made again; then the caller's own repetition takes over.
_PATIENCE = 5.0

#: What concurrent messages share a request: so many at most (Pub/Sub takes 1,000), and for so many seconds.
_MOST_MESSAGES = 100
_COLLECT_SECONDS = 0.003

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL})

_Message = api.PubsubMessage.pb()
_Request = api.PublishRequest.pb()


class Publisher(Protocol):
    """A topic to publish to."""

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Return when the message is safely in the topic; raises `Unavailable` if that is not known."""
        ...


class BulkPublisher(Publisher, Protocol):
    """A topic that also takes many messages in one request."""

    def publish_all(self, messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> Sequence[str | Unavailable]:
        """Each message's id, or why it is not in the topic; raises `Unavailable` where that is so of all of them."""
        ...


class TopicPublisher:
    """`BulkPublisher` over the Pub/Sub API. Concurrent calls share requests, as Firestore's do.

    The library's own way of batching, a thread for each batch and a future for each message, cost more than the rest of
    publishing.
    """

    def __init__(self, client: PublisherClient, project: str, topic: str) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._metadata = (routing_header.to_grpc_metadata((("topic", self._topic),)),)
        self._request = client.transport.grpc_channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            request_serializer=_Request.SerializeToString,
            response_deserializer=api.PublishResponse.pb().FromString,
        )
        self._patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_passing),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            stop=tenacity.stop_after_delay(_PATIENCE),
            reraise=True,
        )
        self._together = Coalescer(self._publish_together, lambda: _MOST_MESSAGES, _COLLECT_SECONDS)

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """See `Publisher.publish`."""
        message = _Message(data=data, attributes=attributes)
        self._together.submit(message, size=message.ByteSize())

    def publish_all(self, messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> Sequence[str | Unavailable]:
        """See `BulkPublisher.publish_all`."""
        return self._publish_together([_Message(data=data, attributes=attributes) for data, attributes in messages])

    def _publish_together(self, messages: Sequence[Any]) -> Sequence[str | Unavailable]:
        try:
            return self._ids(messages)
        except grpc.RpcError as error:
            if len(messages) == 1 or error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise _not_taken(error) from error
        return [self._alone(message) for message in messages]  # so that none fails for another's fault

    def _alone(self, message: Any) -> str | Unavailable:
        try:
            return self._ids([message])[0]
        except grpc.RpcError as error:
            return _not_taken(error)

    def _ids(self, messages: Sequence[Any]) -> Sequence[str]:
        request = _Request(topic=self._topic, messages=messages)
        answer = self._patiently(self._request, request, timeout=REQUEST_SECONDS, metadata=self._metadata)
        ids: Sequence[str] = answer.message_ids
        return ids


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() in _PASSING


def _not_taken(error: grpc.RpcError) -> Unavailable:
    return Unavailable(f"Pub/Sub did not take the message: {error.code().name}")


def connect() -> PublisherClient:
    """A client of Google's Pub/Sub, or of the emulator that `PUBSUB_EMULATOR_HOST` names."""
    return PublisherClient()


def connect_subscriber() -> SubscriberClient:
    """The same for those who pull."""
    return SubscriberClient()

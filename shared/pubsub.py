"""Publishing, with an answer: a message is only published when Pub/Sub has said so. And the clients."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol

from google.api_core import exceptions as google_errors
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import BatchSettings

from shared.errors import Unavailable

#: Seconds to wait for Pub/Sub's answer; after that the caller's own repetition takes over.
_PUBLISH_SECONDS = 10.0

#: Seconds for which concurrent messages are collected into one request.
_COLLECT_SECONDS = 0.003


class Publisher(Protocol):
    """A topic to publish to."""

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Return when the message is safely in the topic; raises `Unavailable` if that is not known."""
        ...


class TopicPublisher:
    """`Publisher` over the Pub/Sub API. Concurrent calls share requests."""

    def __init__(self, client: PublisherClient, project: str, topic: str) -> None:
        self._client = client
        self._topic = f"projects/{project}/topics/{topic}"

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """See `Publisher.publish`."""
        future = self._client.publish(self._topic, data, **attributes)
        try:
            future.result(timeout=_PUBLISH_SECONDS)
        except (google_errors.GoogleAPICallError, google_errors.RetryError, FutureTimeout) as error:
            raise Unavailable(f"Pub/Sub did not take the message: {type(error).__name__}") from error


def connect() -> PublisherClient:
    """A client of Google's Pub/Sub, or of the emulator that `PUBSUB_EMULATOR_HOST` names."""
    return PublisherClient(batch_settings=BatchSettings(max_latency=_COLLECT_SECONDS))


def connect_subscriber() -> SubscriberClient:
    """The same for those who pull."""
    return SubscriberClient()

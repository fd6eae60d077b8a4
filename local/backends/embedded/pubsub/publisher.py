"""The publishing half of the Pub/Sub API (google.pubsub.v1.Publisher): each method answers the RPC with its name.

https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#publisher
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from local.backends.embedded.failure import invalid
from local.backends.embedded.pubsub.broker import Broker
from local.backends.embedded.pubsub.protos import (
    DeleteTopicRequest,
    GetTopicRequest,
    ListTopicsRequest,
    ListTopicsResponse,
    ListTopicSubscriptionsRequest,
    ListTopicSubscriptionsResponse,
    PublishRequest,
    PublishResponse,
    Topic,
    UpdateTopicRequest,
)
from local.backends.embedded.rpc import Rpc

SERVICE = "google.pubsub.v1.Publisher"


class PublisherService:
    """Answers from one broker. Lists are never split into pages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def rpcs(self) -> Mapping[str, Rpc]:
        """The methods by RPC name."""
        return {
            "CreateTopic": Rpc(self.create_topic, Topic),
            "DeleteTopic": Rpc(self.delete_topic, DeleteTopicRequest),
            "GetTopic": Rpc(self.get_topic, GetTopicRequest),
            "ListTopicSubscriptions": Rpc(self.list_topic_subscriptions, ListTopicSubscriptionsRequest),
            "ListTopics": Rpc(self.list_topics, ListTopicsRequest),
            "Publish": Rpc(self.publish, PublishRequest),
            "UpdateTopic": Rpc(self.update_topic, UpdateTopicRequest),
        }

    def create_topic(self, request: Topic, _: grpc.ServicerContext) -> Topic:
        """Create a topic; all settings are stored, but only the name has an effect here."""
        with self._broker.lock:
            self._broker.add_topic(request)
        return request

    def update_topic(self, request: UpdateTopicRequest, _: grpc.ServicerContext) -> Topic:
        """Set the fields named in the mask."""
        with self._broker.lock:
            topic = self._broker.topic(request.topic.name)
            for path in request.update_mask.paths:
                if path == "name" or path not in Topic.DESCRIPTOR.fields_by_name:
                    raise invalid(f"Invalid update_mask: {path} is not a field of a topic that can be updated.")
            request.update_mask.MergeMessage(request.topic, topic, True, True)
            return topic

    def get_topic(self, request: GetTopicRequest, _: grpc.ServicerContext) -> Topic:
        """The topic's settings."""
        with self._broker.lock:
            return self._broker.topic(request.topic)

    def list_topics(self, request: ListTopicsRequest, _: grpc.ServicerContext) -> ListTopicsResponse:
        """The topics of a project."""
        with self._broker.lock:
            return ListTopicsResponse(topics=self._broker.topics(request.project))

    def list_topic_subscriptions(
        self, request: ListTopicSubscriptionsRequest, _: grpc.ServicerContext
    ) -> ListTopicSubscriptionsResponse:
        """The names of a topic's subscriptions."""
        with self._broker.lock:
            self._broker.topic(request.topic)
            names = sorted(mailbox.settings.name for mailbox in self._broker.subscribed_to(request.topic))
        return ListTopicSubscriptionsResponse(subscriptions=names)

    def delete_topic(self, request: DeleteTopicRequest, _: grpc.ServicerContext) -> Empty:
        """Delete the topic; its subscriptions remain."""
        with self._broker.lock:
            self._broker.remove_topic(request.topic)
        return Empty()

    def publish(self, request: PublishRequest, _: grpc.ServicerContext) -> PublishResponse:
        """Message ids in the order of the messages."""
        with self._broker.lock:
            return PublishResponse(message_ids=self._broker.publish(request.topic, request.messages))

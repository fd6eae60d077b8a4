"""The raw protobuf classes behind the Pub/Sub client's own types; see `firestore.protos` for why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.pubsub_v1 import types

if TYPE_CHECKING:
    from google.pubsub_v1.types import (
        AcknowledgeRequest,
        DeleteSubscriptionRequest,
        DeleteTopicRequest,
        GetSubscriptionRequest,
        GetTopicRequest,
        ListSubscriptionsRequest,
        ListSubscriptionsResponse,
        ListTopicsRequest,
        ListTopicsResponse,
        ListTopicSubscriptionsRequest,
        ListTopicSubscriptionsResponse,
        ModifyAckDeadlineRequest,
        ModifyPushConfigRequest,
        PublishRequest,
        PublishResponse,
        PubsubMessage,
        PullRequest,
        PullResponse,
        PushConfig,
        ReceivedMessage,
        StreamingPullRequest,
        StreamingPullResponse,
        Subscription,
        Topic,
        UpdateSubscriptionRequest,
        UpdateTopicRequest,
    )
else:
    AcknowledgeRequest = types.AcknowledgeRequest.pb()
    DeleteSubscriptionRequest = types.DeleteSubscriptionRequest.pb()
    DeleteTopicRequest = types.DeleteTopicRequest.pb()
    GetSubscriptionRequest = types.GetSubscriptionRequest.pb()
    GetTopicRequest = types.GetTopicRequest.pb()
    ListSubscriptionsRequest = types.ListSubscriptionsRequest.pb()
    ListSubscriptionsResponse = types.ListSubscriptionsResponse.pb()
    ListTopicsRequest = types.ListTopicsRequest.pb()
    ListTopicsResponse = types.ListTopicsResponse.pb()
    ListTopicSubscriptionsRequest = types.ListTopicSubscriptionsRequest.pb()
    ListTopicSubscriptionsResponse = types.ListTopicSubscriptionsResponse.pb()
    ModifyAckDeadlineRequest = types.ModifyAckDeadlineRequest.pb()
    ModifyPushConfigRequest = types.ModifyPushConfigRequest.pb()
    PublishRequest = types.PublishRequest.pb()
    PublishResponse = types.PublishResponse.pb()
    PubsubMessage = types.PubsubMessage.pb()
    PullRequest = types.PullRequest.pb()
    PullResponse = types.PullResponse.pb()
    PushConfig = types.PushConfig.pb()
    ReceivedMessage = types.ReceivedMessage.pb()
    StreamingPullRequest = types.StreamingPullRequest.pb()
    StreamingPullResponse = types.StreamingPullResponse.pb()
    Subscription = types.Subscription.pb()
    Topic = types.Topic.pb()
    UpdateSubscriptionRequest = types.UpdateSubscriptionRequest.pb()
    UpdateTopicRequest = types.UpdateTopicRequest.pb()

__all__ = [
    "AcknowledgeRequest",
    "DeleteSubscriptionRequest",
    "DeleteTopicRequest",
    "GetSubscriptionRequest",
    "GetTopicRequest",
    "ListSubscriptionsRequest",
    "ListSubscriptionsResponse",
    "ListTopicSubscriptionsRequest",
    "ListTopicSubscriptionsResponse",
    "ListTopicsRequest",
    "ListTopicsResponse",
    "ModifyAckDeadlineRequest",
    "ModifyPushConfigRequest",
    "PublishRequest",
    "PublishResponse",
    "PubsubMessage",
    "PullRequest",
    "PullResponse",
    "PushConfig",
    "ReceivedMessage",
    "StreamingPullRequest",
    "StreamingPullResponse",
    "Subscription",
    "Topic",
    "UpdateSubscriptionRequest",
    "UpdateTopicRequest",
]

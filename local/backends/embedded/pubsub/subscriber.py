"""The subscribing half of the Pub/Sub API (google.pubsub.v1.Subscriber): each method answers the RPC with its name.

https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#subscriber
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty

from local.backends.embedded.failure import invalid
from local.backends.embedded.pubsub.broker import Broker
from local.backends.embedded.pubsub.protos import (
    AcknowledgeRequest,
    DeleteSubscriptionRequest,
    GetSubscriptionRequest,
    ListSubscriptionsRequest,
    ListSubscriptionsResponse,
    ModifyAckDeadlineRequest,
    ModifyPushConfigRequest,
    PullRequest,
    PullResponse,
    StreamingPullRequest,
    Subscription,
    UpdateSubscriptionRequest,
)
from local.backends.embedded.pubsub.settings import MAX_ACK_SECONDS
from local.backends.embedded.pubsub.streaming import streaming_pull
from local.backends.embedded.rpc import Rpc

SERVICE = "google.pubsub.v1.Subscriber"

#: How long a Pull waits for a first message before it returns none.
PULL_SECONDS = 5.0
#: How often a waiting Pull checks whether its client is still there.
LOOK_SECONDS = 0.5


class SubscriberService:
    """Answers from one broker. Lists are never split into pages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def rpcs(self) -> Mapping[str, Rpc]:
        """The methods by RPC name."""
        return {
            "Acknowledge": Rpc(self.acknowledge, AcknowledgeRequest),
            "CreateSubscription": Rpc(self.create_subscription, Subscription),
            "DeleteSubscription": Rpc(self.delete_subscription, DeleteSubscriptionRequest),
            "GetSubscription": Rpc(self.get_subscription, GetSubscriptionRequest),
            "ListSubscriptions": Rpc(self.list_subscriptions, ListSubscriptionsRequest),
            "ModifyAckDeadline": Rpc(self.modify_ack_deadline, ModifyAckDeadlineRequest),
            "ModifyPushConfig": Rpc(self.modify_push_config, ModifyPushConfigRequest),
            "Pull": Rpc(self.pull, PullRequest),
            "StreamingPull": Rpc(streaming_pull(self._broker), StreamingPullRequest, streams=True, takes_stream=True),
            "UpdateSubscription": Rpc(self.update_subscription, UpdateSubscriptionRequest),
        }

    def create_subscription(self, request: Subscription, _: grpc.ServicerContext) -> Subscription:
        """A new subscription, which gets messages published from now on."""
        with self._broker.lock:
            return self._broker.add_subscription(request)

    def get_subscription(self, request: GetSubscriptionRequest, _: grpc.ServicerContext) -> Subscription:
        """The subscription's settings."""
        with self._broker.lock:
            return self._broker.mailbox(request.subscription).settings

    def update_subscription(self, request: UpdateSubscriptionRequest, _: grpc.ServicerContext) -> Subscription:
        """Set the fields named in the mask."""
        with self._broker.lock:
            return self._broker.change_subscription(request.subscription, request.update_mask.paths)

    def modify_push_config(self, request: ModifyPushConfigRequest, _: grpc.ServicerContext) -> Empty:
        """Push to another endpoint, or (without one) wait for pulls."""
        wanted = Subscription(name=request.subscription, push_config=request.push_config)
        with self._broker.lock:
            self._broker.change_subscription(wanted, ["push_config"])
        return Empty()

    def list_subscriptions(
        self, request: ListSubscriptionsRequest, _: grpc.ServicerContext
    ) -> ListSubscriptionsResponse:
        """The subscriptions of a project."""
        with self._broker.lock:
            return ListSubscriptionsResponse(
                subscriptions=[mailbox.settings for mailbox in self._broker.mailboxes(request.project)]
            )

    def delete_subscription(self, request: DeleteSubscriptionRequest, _: grpc.ServicerContext) -> Empty:
        """Delete the subscription and its messages."""
        with self._broker.lock:
            self._broker.remove_subscription(request.subscription)
        return Empty()

    def pull(self, request: PullRequest, context: grpc.ServicerContext) -> PullResponse:
        """The available messages, up to the limit; if there are none, the first to arrive within a few seconds."""
        if request.max_messages <= 0:
            raise invalid("No max_messages specified")
        end = time.monotonic() + (0.0 if request.return_immediately else PULL_SECONDS)
        with self._broker.lock:
            mailbox = self._broker.mailbox(request.subscription)
            while context.is_active() and not mailbox.is_closed:
                received = mailbox.take(request.max_messages)
                if received or time.monotonic() >= end:
                    return PullResponse(received_messages=received)
                mailbox.wait(min(LOOK_SECONDS, end - time.monotonic()))
        return PullResponse()

    def acknowledge(self, request: AcknowledgeRequest, _: grpc.ServicerContext) -> Empty:
        """Acknowledge the messages. Doing so late, or twice, is allowed."""
        _check_ack_ids(request.ack_ids)
        with self._broker.lock:
            self._broker.mailbox(request.subscription).acknowledge(request.ack_ids)
        return Empty()

    def modify_ack_deadline(self, request: ModifyAckDeadlineRequest, _: grpc.ServicerContext) -> Empty:
        """Extend the deadlines of the messages, or (0 seconds) have them redelivered."""
        _check_ack_ids(request.ack_ids)
        if not 0 <= request.ack_deadline_seconds <= MAX_ACK_SECONDS:
            raise invalid(f"Invalid ack deadline given: (ack_deadline_seconds={request.ack_deadline_seconds})")
        with self._broker.lock:
            self._broker.mailbox(request.subscription).modify(request.ack_ids, request.ack_deadline_seconds)
        return Empty()


def _check_ack_ids(ack_ids: Sequence[str]) -> None:
    if not ack_ids:
        raise invalid("No ack ids specified.")

"""The topics and subscriptions of the local stack; production's are in infra/terraform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, PushConfig, RetryPolicy, Subscription

from local.backends import CALLER
from local.clients import publisher_client, subscriber_client
from local.options import StackOptions

#: Pub/Sub's minimum ack deadline (cloud.google.com/pubsub/docs/lease-management).
SHORTEST_ACK_DEADLINE = 10
#: Production waits 10 s to 10 min between deliveries, to spare a failing service. On a laptop, a developer is watching,
#: and is usually fixing the cause at that moment.
SHORTEST_BACKOFF, LONGEST_BACKOFF = Duration(seconds=1), Duration(seconds=10)


def create_topics(
    pubsub: str, options: StackOptions, urls: Mapping[str, str], old_letters: Sequence[PubsubMessage] = ()
) -> None:
    """Create topics and subscriptions in the empty Pub/Sub at `pubsub` (host:port); `urls` are the services', by name.

    The mails of each lane are pushed to its sender, unless it pulls. Dead letters are pushed to the dispatcher, which
    concludes their documents, and are also kept for an operator in a pull subscription named after their topic. It
    alone gets `old_letters`, the dead letters of an earlier run, whose documents are concluded.
    """
    topic = topic_path(options.project, options.setting("MAIL_TOPIC"))
    dead_letters = topic_path(options.project, options.setting("DEAD_LETTER_TOPIC"))
    with publisher_client(pubsub) as publisher:
        publisher.create_topic(name=topic)
        publisher.create_topic(name=dead_letters)
        if "EVENTS_TOPIC" in options.settings:
            publisher.create_topic(name=topic_path(options.project, options.settings["EVENTS_TOPIC"]))
    with subscriber_client(pubsub) as subscriber, publisher_client(pubsub) as publisher:
        subscriber.create_subscription(name=kept_dead_letters(options), topic=dead_letters)
        for letter in old_letters:
            publisher.publish(topic=dead_letters, messages=[letter])
        for sender in options.senders:
            made = sender_subscription(options, sender, topic, dead_letters, f"{urls[sender]}/")
            subscriber.create_subscription(request=made)
        subscriber.create_subscription(
            name=subscription_path(options.project, f"{options.setting('DEAD_LETTER_TOPIC')}-documents"),
            topic=dead_letters,
            push_config=_push(f"{urls['dispatcher']}/dead-letters", options),
        )


def kept_dead_letters(options: StackOptions) -> str:
    """The full name of the subscription in which dead letters wait for an operator."""
    return subscription_path(options.project, f"{options.setting('DEAD_LETTER_TOPIC')}-pull")


def sender_subscription(
    options: StackOptions, sender: str, topic: str, dead_letters: str, endpoint: str
) -> Subscription:
    """The subscription of one of the `options.senders`; topics are full names, `endpoint` is for push."""
    ack_deadline = int(options.setting("ACK_DEADLINE_SECONDS"))
    return Subscription(
        name=subscription_path(options.project, options.subscription(sender)),
        topic=topic,
        filter=options.lanes.filter_of(options.senders[sender]),
        push_config=_push(endpoint, options) if options.sender == "push" else None,
        ack_deadline_seconds=max(SHORTEST_ACK_DEADLINE, ack_deadline),
        retry_policy=RetryPolicy(minimum_backoff=SHORTEST_BACKOFF, maximum_backoff=LONGEST_BACKOFF),
        dead_letter_policy=DeadLetterPolicy(
            dead_letter_topic=dead_letters, max_delivery_attempts=options.delivery_attempts
        ),
    )


def _push(endpoint: str, options: StackOptions) -> PushConfig:
    if not options.has_tokens:
        return PushConfig(push_endpoint=endpoint)
    service = urlsplit(endpoint)
    token = PushConfig.OidcToken(service_account_email=CALLER, audience=f"{service.scheme}://{service.netloc}/")
    return PushConfig(push_endpoint=endpoint, oidc_token=token)


def topic_path(project: str, topic: str) -> str:
    """The full name of a topic."""
    return f"projects/{project}/topics/{topic}"


def subscription_path(project: str, subscription: str) -> str:
    """The full name of a subscription."""
    return f"projects/{project}/subscriptions/{subscription}"

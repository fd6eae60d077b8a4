"""The registry of topics and subscriptions, which routes messages between them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.failure import Failure
from local.backends.embedded.faults import DeliveryFaults
from local.backends.embedded.pubsub import settings as rules
from local.backends.embedded.pubsub.messages import dead_letter
from local.backends.embedded.pubsub.protos import PubsubMessage, Subscription, Topic
from local.backends.embedded.pubsub.subscriptions import Mailbox
from local.backends.embedded.tokens import TokenIssuer

#: The topic of a subscription whose topic was deleted.
DELETED_TOPIC = "_deleted-topic_"


class Broker:
    """Topics, subscriptions and their messages. Callers must hold `lock`.

    `wall` returns microseconds since the epoch.
    """

    def __init__(self, wall: Callable[[], int], issuer: TokenIssuer, faults: DeliveryFaults) -> None:
        self.lock = threading.RLock()
        self._wall = wall
        self._issuer = issuer
        self._faults = faults
        self._topics: dict[str, Topic] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._ids = itertools.count(1)

    def add_topic(self, topic: Topic) -> None:
        """Create a topic. Raises ALREADY_EXISTS, INVALID_ARGUMENT."""
        rules.check_name(topic.name, "topics")
        if topic.name in self._topics:
            raise Failure(grpc.StatusCode.ALREADY_EXISTS, f"Topic already exists: {topic.name}")
        self._topics[topic.name] = topic

    def topic(self, name: str) -> Topic:
        """The topic with that name. Raises NOT_FOUND."""
        if name not in self._topics:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Topic not found: {name}")
        return self._topics[name]

    def topics(self, project: str) -> Iterator[Topic]:
        """The topics of `projects/P`, by name."""
        return (self._topics[name] for name in sorted(self._topics) if name.startswith(f"{project}/"))

    def remove_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions and their messages remain. Raises NOT_FOUND."""
        self.topic(name)
        del self._topics[name]
        for mailbox in self.subscribed_to(name):
            mailbox.settings.topic = DELETED_TOPIC

    def publish(self, topic: str, messages: Sequence[PubsubMessage]) -> list[str]:
        """Assign ids and times to messages, and pass them to the topic's subscriptions; returns the ids.

        Raises NOT_FOUND, or INVALID_ARGUMENT if a message is empty or too large; then none is published.
        """
        self.topic(topic)
        rules.check_messages(messages)
        return self._publish(topic, messages)

    def _publish(self, topic: str, messages: Sequence[PubsubMessage]) -> list[str]:
        published = Timestamp()
        published.FromMilliseconds(self._wall() // 1000)
        mailboxes = list(self.subscribed_to(topic))
        for message in messages:
            message.message_id = str(next(self._ids))
            message.publish_time.CopyFrom(published)
            for mailbox in mailboxes:
                mailbox.offer(message)
        return [message.message_id for message in messages]

    def add_subscription(self, wanted: Subscription) -> Subscription:
        """Create a subscription. Raises ALREADY_EXISTS, NOT_FOUND, and the errors of `settings.completed`."""
        settings = rules.completed(wanted)
        if settings.name in self._mailboxes:
            raise Failure(grpc.StatusCode.ALREADY_EXISTS, f"Subscription already exists: {settings.name}")
        self.topic(settings.topic)
        self._check_dead_letter_topic(settings)
        self._mailboxes[settings.name] = Mailbox(settings, self.lock, self._dead_letter, self._issuer, self._faults)
        return settings

    def change_subscription(self, wanted: Subscription, paths: Sequence[str]) -> Subscription:
        """Set the fields named by `paths`. Raises NOT_FOUND, and the errors of `settings.updated`."""
        mailbox = self.mailbox(wanted.name)
        settings = rules.updated(mailbox.settings, wanted, paths)
        self._check_dead_letter_topic(settings)
        mailbox.configure(settings)
        return settings

    def mailbox(self, name: str) -> Mailbox:
        """The subscription with that name. Raises NOT_FOUND."""
        if name not in self._mailboxes:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"Subscription does not exist: {name}")
        return self._mailboxes[name]

    def mailboxes(self, project: str) -> Iterator[Mailbox]:
        """The subscriptions of `projects/P`, by name."""
        return (self._mailboxes[name] for name in sorted(self._mailboxes) if name.startswith(f"{project}/"))

    def subscribed_to(self, topic: str) -> Iterator[Mailbox]:
        """The subscriptions of a topic."""
        return (mailbox for mailbox in self._mailboxes.values() if mailbox.settings.topic == topic)

    def remove_subscription(self, name: str) -> None:
        """Delete the subscription and its messages. Raises NOT_FOUND."""
        self.mailbox(name).close()
        del self._mailboxes[name]

    def waiting(self) -> int:
        """The number of unacknowledged messages in all subscriptions."""
        with self.lock:
            return sum(map(len, self._mailboxes.values()))

    def waiting_in_each(self) -> dict[str, int]:
        """The number of unacknowledged messages in each subscription, by its name."""
        with self.lock:
            return {name: len(mailbox) for name, mailbox in self._mailboxes.items()}

    def close(self) -> None:
        """Stop all deliveries."""
        for mailbox in self._mailboxes.values():
            mailbox.close()

    def _check_dead_letter_topic(self, settings: Subscription) -> None:
        if settings.HasField("dead_letter_policy"):
            self.topic(settings.dead_letter_policy.dead_letter_topic)

    def _dead_letter(self, mailbox: Mailbox, message: PubsubMessage, attempts: int) -> bool:
        """Forward a message to the dead-letter topic; while that topic does not exist, delivery continues."""
        topic = mailbox.settings.dead_letter_policy.dead_letter_topic
        if topic not in self._topics:
            return False
        self._publish(topic, [dead_letter(message, mailbox.settings.name, attempts)])
        return True

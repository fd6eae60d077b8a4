"""Pub/Sub as the console shows it: topics, subscriptions, and the dead letters, which can be replayed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

from local.clients import publisher_client, subscriber_client
from shared.pubsub.letters import Letter

#: Dead letters that are looked at, how many bytes of them, and how many per request: one has up to 10 MB.
MOST_LETTERS, MOST_BYTES, PULLED_AT_ONCE = 200, 64 * 1024 * 1024, 10
#: A pull without an answer for so many seconds has nothing to give. It takes longer where messages are known to wait:
#: somebody else holds them, or the machine is busy.
EMPTY_SECONDS, HELD_SECONDS = 0.5, 3.0


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription; names without the project. `endpoint` is empty for pull, `waiting` None if it is not known."""

    name: str
    topic: str
    endpoint: str
    ack_deadline: int
    dead_letter_topic: str
    waiting: int | None


class Queues:
    """The Pub/Sub at `address` (host:port). `waiting` returns the unacknowledged messages by subscription."""

    def __init__(
        self,
        address: str,
        project: str,
        topic: str,
        dead_letters: str,
        waiting: Callable[[], Mapping[str, int]],
    ) -> None:
        """`topic` is the mails', `dead_letters` the pull subscription of dead letters; both are full names."""
        self._address = address
        self._project = f"projects/{project}"
        self._topic = topic
        self._dead_letters = dead_letters
        self._waiting = waiting

    def version(self) -> object:
        """Something that changes when the queues do, as far as that is known."""
        return tuple(self._waiting().values())

    def topics(self) -> list[str]:
        """The names of all topics."""
        with publisher_client(self._address) as client:
            return [_short(topic.name) for topic in client.list_topics(project=self._project)]

    def subscriptions(self) -> list[Subscription]:
        """All subscriptions."""
        waiting = self._waiting()
        with subscriber_client(self._address) as client:
            return [
                Subscription(
                    name=_short(found.name),
                    topic=_short(found.topic),
                    endpoint=found.push_config.push_endpoint,
                    ack_deadline=found.ack_deadline_seconds,
                    dead_letter_topic=_short(found.dead_letter_policy.dead_letter_topic),
                    waiting=waiting.get(found.name),
                )
                for found in client.list_subscriptions(project=self._project)
            ]

    def letters(self) -> list[Letter]:
        """The dead letters (at most `MOST_LETTERS`, about `MOST_BYTES`), newest first. They stay where they are."""
        with self._held() as (_, letters):
            return sorted(letters, key=lambda letter: letter.published, reverse=True)

    def replay(self, identifier: str) -> Letter | None:
        """Publish a dead letter again, then remove it. Returns it; None if there is none with that id."""
        with self._held() as (subscriber, letters):
            letter = next((letter for letter in letters if letter.id == identifier), None)
            if letter is not None:
                data, attributes = letter.replayed(secrets.token_hex(8))
                with publisher_client(self._address) as publisher:
                    publisher.publish(topic=self._topic, messages=[PubsubMessage(data=data, attributes=attributes)])
                letters.remove(letter)
                subscriber.acknowledge(subscription=self._dead_letters, ack_ids=[letter.ack_id])
        return letter

    def delete(self, identifier: str) -> bool:
        """Remove a dead letter; returns whether there was one with that id."""
        with self._held() as (subscriber, letters):
            letter = next((letter for letter in letters if letter.id == identifier), None)
            if letter is not None:
                letters.remove(letter)
                subscriber.acknowledge(subscription=self._dead_letters, ack_ids=[letter.ack_id])
        return letter is not None

    @contextmanager
    def _held(self) -> Iterator[tuple[SubscriberClient, list[Letter]]]:
        """Lease the dead letters; those that are in the list at the end of the block are given back."""
        with subscriber_client(self._address) as client:
            letters = [_letter(received) for received in self._pulled(client)]
            try:
                yield client, letters
            finally:
                if letters:
                    ack_ids = [letter.ack_id for letter in letters]
                    client.modify_ack_deadline(subscription=self._dead_letters, ack_ids=ack_ids, ack_deadline_seconds=0)

    def _pulled(self, client: SubscriberClient) -> list[ReceivedMessage]:
        """A pull waits for a first message, so the number of those that wait, where it is known, saves time."""
        known = self._waiting().get(self._dead_letters)
        expected, timeout = (MOST_LETTERS, EMPTY_SECONDS) if known is None else (known, HELD_SECONDS)
        found: dict[str, ReceivedMessage] = {}
        size = 0
        while len(found) < min(expected, MOST_LETTERS) and size < MOST_BYTES:
            try:
                answer = client.pull(
                    subscription=self._dead_letters, max_messages=PULLED_AT_ONCE, timeout=timeout, retry=None
                )
            except DeadlineExceeded:
                break
            if not answer.received_messages:
                break
            found |= {received.message.message_id: received for received in answer.received_messages}
            size += sum(len(received.message.data) for received in answer.received_messages)
        return list(found.values())


def _letter(received: ReceivedMessage) -> Letter:
    message: Any = received.message  # the client's own types: a time is a `datetime`
    return Letter(
        id=message.message_id,
        ack_id=received.ack_id,
        data=message.data,
        attributes=dict(message.attributes),
        published=message.publish_time,
    )


def _short(name: str) -> str:
    return name.rpartition("/")[2]

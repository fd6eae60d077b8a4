"""Pub/Sub, as the commands use it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cli.exits import reaching
from cli.subscription import Subscription
from cli.target import Target
from shared.pubsub.publisher import Publisher, TopicPublisher, connect_publisher, connect_subscriber


@contextmanager
def open_topic(target: Target) -> Iterator[Publisher]:
    """The mail topic; closed at the end of the block."""
    target.check(os.environ)
    name = f"the Pub/Sub topic {target.topic} (project {target.project})"
    with reaching(name):
        client = connect_publisher()
    try:
        yield _Topic(TopicPublisher(client, target.project, target.topic), name)
    finally:
        client.transport.close()


@contextmanager
def open_dead_letters(target: Target) -> Iterator[Subscription]:
    """The dead letters' subscription; closed at the end of the block."""
    target.check(os.environ)
    name = f"the Pub/Sub subscription {target.dead_letters} (project {target.project})"
    with reaching(name):
        client = connect_subscriber()
    try:
        yield Subscription(client, f"projects/{target.project}/subscriptions/{target.dead_letters}", name)
    finally:
        client.transport.close()


class _Topic:
    """A `Publisher` whose errors name the topic."""

    def __init__(self, publisher: Publisher, name: str) -> None:
        self._publisher = publisher
        self._name = name

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        with reaching(self._name):
            self._publisher.publish(data, attributes)

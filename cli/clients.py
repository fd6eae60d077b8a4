"""The target of the commands, and its clients."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from google.cloud import firestore
from google.cloud.pubsub_v1 import SubscriberClient

from cli.exits import reaching
from cli.mailbox import Mailbox
from cli.subscription import Subscription
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase
from shared.pubsub.publisher import Publisher, TopicPublisher, connect_publisher

EMULATORS = ("FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")


@dataclass(frozen=True, slots=True)
class Target:
    """One installation of Firepost; ids, not full names. `project` is empty if not given.

    `services` are the addresses of the local stack's services, by name.
    """

    project: str
    database: str
    collection: str
    topic: str
    dead_letters: str
    services: Mapping[str, str] = field(default_factory=dict)

    @property
    def firestore(self) -> str:
        """The database's name in texts for people."""
        return f"Firestore (project {self.project}, database {self.database})"

    def check_project(self) -> None:
        """Raises `click.UsageError` if there is no project."""
        if not self.project:
            raise click.UsageError("Which project? Use --project ID, set GOOGLE_CLOUD_PROJECT, or use --local FILE.")

    def check(self, environment: Mapping[str, str]) -> None:
        """Raises `click.UsageError` if the target is ambiguous, before anything is done."""
        self.check_project()
        present = [name for name in EMULATORS if environment.get(name)]
        if len(present) == 1:
            absent = next(name for name in EMULATORS if name not in present)
            raise click.UsageError(
                f"{present[0]} is set but {absent} is not: half would happen in Google Cloud. Set both or neither."
            )


def read_ready_file(path: Path) -> dict[str, str]:
    """What a ready file of `python -m local up` says: `firestore`, `pubsub`, `project`, `topic` and more.

    Raises `click.BadParameter` if it is not one.
    """
    try:
        ready = json.loads(path.read_text(encoding="utf-8"))
        needed = {name: str(ready[name]) for name in ("firestore", "pubsub", "project", "topic")}
        return {name: value for name, value in ready.items() if isinstance(value, str)} | needed
    except (OSError, ValueError, KeyError, TypeError) as error:  # no JSON, or no object
        raise click.BadParameter(
            f"{path} is not a ready file of 'python -m local up --ready-file {path}'; is the local stack running?"
        ) from error


@contextmanager
def open_mailbox(target: Target) -> Iterator[Mailbox]:
    """The mail documents; closed at the end of the block."""
    with open_database(target) as database, reaching(target.firestore):
        client = firestore.Client(project=target.project, database=target.database)
        try:
            yield Mailbox(client, database, target.collection, target.firestore)
        finally:
            client.close()


@contextmanager
def open_database(target: Target) -> Iterator[FirestoreDatabase]:
    """Firestore as the services use it; closed at the end of the block. Its errors become `Unreachable`."""
    target.check(os.environ)
    with reaching(target.firestore):
        connection = connect_firestore(os.environ.get(EMULATORS[0]) or None)
        try:
            yield FirestoreDatabase(connection, target.project, target.database)
        finally:
            connection.close()


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
        client = SubscriberClient()
    try:
        yield Subscription(client, f"projects/{target.project}/subscriptions/{target.dead_letters}", name)
    finally:
        client.close()


class _Topic:
    """A `Publisher` whose errors name the topic."""

    def __init__(self, publisher: Publisher, name: str) -> None:
        self._publisher = publisher
        self._name = name

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        with reaching(self._name):
            self._publisher.publish(data, attributes)

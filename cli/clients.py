"""Firestore, as the commands use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from google.cloud import firestore

from cli.exits import reaching
from cli.mailbox import Mailbox
from cli.target import EMULATORS, Target
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase


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

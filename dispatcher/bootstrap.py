"""Where the dispatcher is put together: settings → clients → handler → app."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Flask

from dispatcher.app import create_app
from dispatcher.handler import Dispatcher
from shared import database, pubsub
from shared.database import FirestoreDatabase
from shared.pubsub import TopicPublisher
from shared.settings import ServiceSettings
from shared.store import MailStore


def build(settings: ServiceSettings) -> Flask:
    """The app as production runs it. Clients are made here, and connect with their first request."""
    project, policy = settings.google_cloud_project, settings.policy()
    firestore = FirestoreDatabase(database.connect(settings.firestore_emulator_host), project, settings.database)
    dispatcher = Dispatcher(
        MailStore(firestore, policy),
        TopicPublisher(pubsub.connect(), project, settings.mail_topic),
        policy,
        clock=lambda: datetime.now(UTC),
    )
    return create_app(dispatcher, settings.mail_collection, settings.verifier())

"""Composition of the dispatcher: settings → clients → handlers → app."""

from __future__ import annotations

from datetime import UTC, datetime

from dispatcher.app import Handlers, create_app
from dispatcher.dead_letters import DeadLetters
from dispatcher.handler import Dispatcher
from dispatcher.lifecycle import Lifecycle
from dispatcher.outbox import Outbox
from dispatcher.reconciler import Reconciler
from dispatcher.settings import DispatcherSettings
from shared.delivery.store import MailStore
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase
from shared.http.server import Service
from shared.observability import tracing
from shared.pubsub.publisher import TopicPublisher, connect_publisher


def build(settings: DispatcherSettings) -> Service:
    """The app as in production. Clients are created here, and connect when the first request is made."""
    project, policy, collection = settings.google_cloud_project, settings.policy(), settings.mail_collection
    database = FirestoreDatabase(connect_firestore(settings.firestore_emulator_host), project, settings.database)
    store, client = MailStore(database, policy), connect_publisher()
    outbox = Outbox(TopicPublisher(client, project, settings.mail_topic), store, settings.batching())
    tracer = tracing.connect("dispatcher", settings.traces)
    handlers = Handlers(
        dispatcher=Dispatcher(outbox, policy, _utc_now, tracer=tracer),
        reconciler=Reconciler(database, outbox, policy, collection, _utc_now, tracer=tracer),
        dead_letters=DeadLetters(store, policy, collection, _utc_now),
        lifecycle=Lifecycle(TopicPublisher(client, project, settings.events_topic)) if settings.events_topic else None,
    )

    def close() -> None:
        handlers.dispatcher.log_ignored()
        tracer.close()

    return Service(create_app(handlers, collection, settings.verifier()), close=close)


def _utc_now() -> datetime:
    return datetime.now(UTC)

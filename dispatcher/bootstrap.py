"""Composition of the dispatcher: settings → clients → handlers → app."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from google.pubsub_v1.services.publisher import PublisherClient

from dispatcher.app import Handlers, create_app
from dispatcher.dead_letters import DeadLetters
from dispatcher.eventarc import EventarcChannel, connect_emulator, connect_eventarc
from dispatcher.handler import Dispatcher
from dispatcher.lifecycle import EventsTopic, Lifecycle, Place
from dispatcher.outbox import Outbox
from dispatcher.reconciler import Reconciler
from dispatcher.settings import DispatcherSettings
from dispatcher.shadow import Shadow
from shared.control import Control
from shared.delivery.store import MailStore
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase
from shared.http.app import Health
from shared.http.server import Service
from shared.observability import tracing
from shared.observability.tracing import Tracer
from shared.pubsub.publisher import TopicPublisher, connect_publisher
from shared.settings import SHADOW_NOTICE

_log = logging.getLogger("firepost.dispatcher")


def build(settings: DispatcherSettings) -> Service:
    """The app as in production. Clients are created here, and connect when the first request is made."""
    tracer = tracing.connect("dispatcher", settings.traces)
    handlers, health, drain = (_shadow_handlers if settings.shadow else _handlers)(settings, tracer)

    def close() -> None:
        handlers.log_ignored()
        tracer.close()

    app = create_app(handlers, settings.mail_collection, settings.verifier(), health)
    return Service(app, drain, close)


class _Built(NamedTuple):
    """What the entry points call, what `GET /health` says, and what to call on SIGTERM."""

    handlers: Handlers
    health: Health
    drain: Callable[[], None] | None = None


def _handlers(settings: DispatcherSettings, tracer: Tracer) -> _Built:
    project, policy, collection = settings.google_cloud_project, settings.policy(), settings.mail_collection
    database = FirestoreDatabase(connect_firestore(settings.firestore_emulator_host), project, settings.database)
    store, client, control = MailStore(database, policy), connect_publisher(), Control(database, collection)
    places = _places(settings, client)
    outbox = Outbox(TopicPublisher(client, project, settings.mail_topic), store, settings.batching())
    lanes = settings.lanes
    dispatcher = Dispatcher(outbox, policy, _utc_now, control.pause, tracer=tracer, lanes=lanes)
    reconciler = Reconciler(database, outbox, policy, collection, control, _utc_now, tracer=tracer, lanes=lanes)
    handlers = Handlers(
        change=dispatcher.handle,
        log_ignored=dispatcher.log_ignored,
        reconcile=reconciler.run,
        dead_letter=DeadLetters(store, policy, collection, _utc_now).handle,
        lifecycle=Lifecycle(places) if places else None,
    )
    return _Built(handlers, partial(control.health, settings.health), reconciler.stop)


def _shadow_handlers(settings: DispatcherSettings, tracer: Tracer) -> _Built:
    """Those of shadow mode; without a connection to Firestore, they can't write."""
    _log.warning(SHADOW_NOTICE)
    topic = TopicPublisher(connect_publisher(), settings.google_cloud_project, settings.mail_topic)
    shadow = Shadow(topic, tracer=tracer)
    handlers = Handlers(shadow.handle, shadow.log_ignored, shadow.reconcile, shadow.dead_letter)
    return _Built(handlers, lambda: settings.health)


def _places(settings: DispatcherSettings, client: PublisherClient) -> list[Place]:
    """Where lifecycle events are published, if anywhere."""
    places: list[Place] = []
    if settings.events_topic:
        places.append(EventsTopic(TopicPublisher(client, settings.google_cloud_project, settings.events_topic)))
    if settings.channel:
        places.append(_channel(settings, settings.channel))
    return places


def _channel(settings: DispatcherSettings, name: str) -> EventarcChannel:
    emulator, source = settings.cloud_eventarc_emulator_host, settings.eventarc_cloud_event_source
    if emulator:  # its value is a URL, or as those of the other emulators
        api = emulator if "://" in emulator else f"http://{emulator}"
        session = connect_emulator(settings.threads)
        return EventarcChannel(name, session, api=api, source=source, selected=settings.ext_selected_events)
    return EventarcChannel(
        name, connect_eventarc(settings.threads), source=source, selected=settings.ext_selected_events
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)

"""Assembles the sender: settings → clients → handler → entry point."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import uuid4

from sender import factory
from sender.downloads.downloader import Downloads
from sender.entrypoints.pull import Flow, Puller
from sender.entrypoints.push import create_app
from sender.memory.allocator import return_large_blocks
from sender.memory.budget import SMALL_BYTES, MemoryBudget
from sender.memory.limit import memory_limit
from sender.message.compose import Composer
from sender.message.draft import Encoder
from sender.message.html_process import html_postprocessor
from sender.message.html_worker import MEMORY_BYTES as PAGE_BYTES
from sender.message.recipients import FirestoreUsers
from sender.message.template_repository import FirestoreTemplates
from sender.settings import MIN_MEMORY_MB, PullSettings, SenderSettings
from sender.transport.envelope import Transport
from sender.transport.rate.installation import InstallationRates
from sender.worker.attempt import Attempts
from sender.worker.composing import Composing
from sender.worker.handler import Handler, Limits, Sender
from sender.worker.retention import Retain, retain_all, retain_nothing_private, retain_rendered
from sender.worker.shadow import ShadowSender
from shared.control import Control
from shared.delivery.lanes import DEFAULT_LANE, NO_LANES
from shared.delivery.store import MailStore
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase
from shared.http.app import Health
from shared.http.server import Service
from shared.observability import tracing
from shared.observability.tracing import Tracer
from shared.pubsub.publisher import TopicPublisher, connect_publisher, connect_subscriber
from shared.settings import SHADOW_NOTICE

_log = logging.getLogger("firepost.sender")

MIB = 1024 * 1024

#: What a process needs besides its mails (docs/performance.md measures it), and what the allocator can't return.
OWN_BYTES = 224 * MIB


def build(settings: SenderSettings) -> Service:
    """The WSGI app for push, with its shutdown hooks. Raises `Misconfigured`."""
    tracer = tracing.connect("sender", settings.traces)
    handler, health, close = build_sender(settings, tracer)
    return Service(create_app(handler, settings.verifier(), health), handler.drain, close)


class BuiltPuller(NamedTuple):
    """The puller, what `GET /health` says when all is well, and what to call at the end."""

    puller: Puller
    health: Health
    close: Callable[[], None]


def build_puller(settings: PullSettings, tracer: Tracer) -> BuiltPuller:
    """The puller for pull. Raises `Misconfigured`.

    By default it holds no more messages than it has threads: another sender could handle those that would wait here.
    """
    flow = Flow(settings.pull_max_messages or settings.threads, settings.pull_max_bytes, settings.ack_deadline_seconds)
    handler, health, close = build_sender(settings, tracer)
    return BuiltPuller(
        Puller(connect_subscriber(), settings.subscription, flow, handler, settings.threads), health, close
    )


class BuiltSender(NamedTuple):
    """The handler for both entry points, what `GET /health` says when all is well, and what to call at the end."""

    handler: Handler
    health: Health
    close: Callable[[], None]


def build_sender(settings: SenderSettings, tracer: Tracer) -> BuiltSender:
    """Clients connect with their first request. `tracer` is closed at the end, too. Raises `Misconfigured`."""
    return_large_blocks()
    project = settings.google_cloud_project
    database = FirestoreDatabase(connect_firestore(settings.firestore_emulator_host), project, settings.database)
    control = Control(database, settings.mail_collection, settings.lane)
    rates = InstallationRates(
        database, settings.mail_collection, uuid4().hex, bool(settings.tenant_field), settings.tenant_rate_per_second
    )
    channel = factory.build_channel(
        settings, settings.data_margin, settings.turn_seconds, settings.breaker, rates, control.check
    )
    mails = limits(settings, channel.transport)
    memory = memory_budget(settings, mails.claimed)
    if settings.shadow:
        _log.warning(SHADOW_NOTICE)
        shadow = ShadowSender(
            database,
            Composing(composer(settings, database, channel.encode), downloads(settings)),
            memory,
            mails,
            settings.policy(),
            collection=settings.mail_collection,
            clock=_now,
            tracer=tracer,
        )
        return BuiltSender(shadow, lambda: settings.health, tracer.close)
    attempts = Attempts(
        channel.transport,
        compose=composer(settings, database, channel.encode),
        downloads=downloads(settings),
        clock=_now,
        memory=memory,
        policy=settings.policy(),
        check=control.check,
        retain=_retention(settings),
    )
    # Only Google's emulator of Pub/Sub delivers messages of other lanes: it ignores filters. Elsewhere, a mail is sent
    # by whoever gets its message, even if LANE or a filter is wrong.
    lanes, lane = (settings.lanes, settings.lane) if settings.emulated else (NO_LANES, DEFAULT_LANE)
    sender = Sender(
        MailStore(database, settings.policy(), settings.finish_retry_seconds),
        attempts,
        TopicPublisher(connect_publisher(), project, settings.dead_letter_topic),
        mails,
        collection=settings.mail_collection,
        pause=control.pause,
        clock=_now,
        tracer=tracer,
        lanes=lanes,
        lane=lane,
    )

    def close() -> None:
        rates.close()
        tracer.close()

    return BuiltSender(sender, partial(control.health, settings.health), close)


def _now() -> datetime:
    return datetime.now(UTC)


def limits(settings: SenderSettings, transport: Transport) -> Limits:
    """The limits on concurrency. Claimed is only what a connection is free for, or soon has its turn: whatever else a
    crash leaves behind would end as "not known", though nothing was sent.
    """
    return Limits(
        claimed=min(settings.threads, transport.most),
        queue_seconds=settings.queue_seconds,
        attempt_seconds=settings.attempt,
        batching=settings.batching(),
    )


def memory_budget(settings: SenderSettings, claimed: int) -> MemoryBudget:
    """The memory for the mails of one process: MEMORY_BUDGET_MB, or what the process itself leaves of its share.

    Half of the mails that may be `claimed` may wait for memory, so that there are always places for others.
    """
    if settings.memory_budget_mb is not None:
        size = settings.memory_budget_mb * MIB // settings.processes
    else:
        changes_pages = settings.inline_css or settings.text_from_html
        own = OWN_BYTES + claimed * SMALL_BYTES + (PAGE_BYTES if changes_pages else 0)
        size = memory_limit() // settings.processes - own
    return MemoryBudget(
        max(size, MIN_MEMORY_MB * MIB), waiting=math.ceil(claimed / 2), wait_seconds=settings.turn_seconds
    )


def composer(settings: SenderSettings, database: FirestoreDatabase, encode: Encoder) -> Composer:
    """The function that composes mails according to the settings; raises `Misconfigured`."""
    users, templates = settings.users_collection, settings.templates_collection
    return Composer(
        defaults=factory.defaults(settings),
        encode=encode,
        users=FirestoreUsers(database, users) if users else None,
        templates=FirestoreTemplates(database, templates) if templates else None,
        postprocess=html_postprocessor(inline_css=settings.inline_css, text_from_html=settings.text_from_html),
        guard=factory.guard(settings),
        lanes=settings.lanes,
        tenant_field=settings.tenant_field,
    )


def downloads(settings: SenderSettings) -> Downloads:
    """The allowed sources of attachments; raises `Misconfigured`."""
    return Downloads.configured(settings.attachment_hosts, settings.attachment_buckets)


def _retention(settings: SenderSettings) -> Retain:
    if settings.redact_after_success:
        return retain_nothing_private
    return retain_rendered if settings.store_rendered else retain_all


def validate(settings: SenderSettings) -> None:
    """Check the settings before processes are forked; raises `Misconfigured`."""
    factory.build_channel(settings, settings.data_margin, settings.turn_seconds)
    factory.defaults(settings)
    factory.guard(settings)
    downloads(settings)
    html_postprocessor(inline_css=settings.inline_css, text_from_html=settings.text_from_html)

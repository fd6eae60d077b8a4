"""Where the sender is put together: settings → clients → handler → app."""

from __future__ import annotations

from datetime import UTC, datetime

from sender.app import create_app
from sender.compose import Defaults
from sender.handler import Sender
from sender.settings import SenderSettings
from sender.transport.server import SmtpServer, parse_server
from sender.transport.smtp import SmtpLimits, SmtpTransport
from shared import database, pubsub
from shared.addresses import Address, BadAddress, mailboxes, parse_addresses
from shared.database import FirestoreDatabase
from shared.errors import Misconfigured
from shared.pubsub import TopicPublisher
from shared.store import MailStore
from shared.web import Service


def build(settings: SenderSettings) -> Service:
    """The app as production runs it. Clients are made here, and connect with their first request."""
    project = settings.google_cloud_project
    firestore = FirestoreDatabase(database.connect(settings.firestore_emulator_host), project, settings.database)
    limits = SmtpLimits(
        max_connections=settings.smtp_max_connections,
        mails_per_second=settings.smtp_rate_per_second,
        data_margin=settings.data_margin,
    )
    sender = Sender(
        MailStore(firestore, settings.policy(), settings.finish_patience),
        SmtpTransport(smtp_server(settings), limits),
        TopicPublisher(pubsub.connect(), project, settings.dead_letter_topic),
        collection=settings.mail_collection,
        defaults=defaults(settings),
        attempt_seconds=settings.attempt,
        clock=lambda: datetime.now(UTC),
    )
    return Service(create_app(sender, settings.verifier()), sender.drain)


def smtp_server(settings: SenderSettings) -> SmtpServer:
    """The mail server that the settings describe; raises `Misconfigured`."""
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return parse_server(settings.smtp_connection_uri.get_secret_value(), password, settings.tls_options)


def defaults(settings: SenderSettings) -> Defaults:
    """DEFAULT_FROM and DEFAULT_REPLY_TO as addresses; raises `Misconfigured`."""
    sender, *others = _addresses("DEFAULT_FROM", settings.default_from)
    if others:
        raise Misconfigured(f"DEFAULT_FROM={settings.default_from!r}: expected one address")
    reply_to = settings.default_reply_to
    return Defaults(sender, _addresses("DEFAULT_REPLY_TO", reply_to) if reply_to else ())


def _addresses(name: str, text: str) -> tuple[Address, ...]:
    try:
        if found := tuple(mailboxes(parse_addresses(text))):
            return found
    except BadAddress as error:
        raise Misconfigured(f"{name}={text!r}: expected a@b.c or Name <a@b.c>, found {error}") from error
    raise Misconfigured(f"{name}={text!r}: expected a@b.c or Name <a@b.c>")

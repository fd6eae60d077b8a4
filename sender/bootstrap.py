"""Where the sender is put together: settings → clients → handler → app."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from functools import partial

from pydantic import SecretStr

from sender.app import create_app
from sender.compose import Defaults, compose, write_mime
from sender.downloads.either import Downloads
from sender.handler import Sender
from sender.keeping import Keep, keep_as_is, keep_nothing_private, keep_rendered
from sender.letter import Writer
from sender.recipients import FirestoreUsers
from sender.sendgrid_request import write_request
from sender.settings import MailSettings, OAuthSettings, SenderSettings
from sender.template_source import FirestoreTemplates
from sender.transport.envelope import Transport
from sender.transport.https import Site
from sender.transport.oauth import AccessTokens, OAuthClient
from sender.transport.sendgrid import SendGridAccount, SendGridTransport
from sender.transport.server import SmtpServer, parse_server, token_server
from sender.transport.smtp import SmtpLimits, SmtpTransport
from sender.transport.tls import build_context, parse_tls_options
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
    users = FirestoreUsers(firestore, settings.users_collection) if settings.users_collection else None
    templates = FirestoreTemplates(firestore, settings.templates_collection) if settings.templates_collection else None
    sender = Sender(
        MailStore(firestore, settings.policy(), settings.finish_patience),
        transport(settings, limits(settings)),
        TopicPublisher(pubsub.connect(), project, settings.dead_letter_topic),
        collection=settings.mail_collection,
        compose=partial(compose, defaults=defaults(settings), write=writer(settings), users=users, templates=templates),
        downloads=downloads(settings),
        attempt_seconds=settings.attempt,
        clock=lambda: datetime.now(UTC),
        keep=_keep(settings),
    )
    return Service(create_app(sender, settings.verifier()), sender.drain)


def downloads(settings: SenderSettings) -> Downloads:
    """Where attachments may be fetched from; raises `Misconfigured`."""
    return Downloads.configured(settings.attachment_hosts, settings.attachment_buckets)


def _keep(settings: SenderSettings) -> Keep:
    if settings.redact_after_success:
        return keep_nothing_private
    return keep_rendered if settings.store_rendered else keep_as_is


def limits(settings: SenderSettings) -> SmtpLimits:
    """How hard the mail server may be pressed."""
    return SmtpLimits(
        max_connections=settings.smtp_max_connections,
        mails_per_second=settings.smtp_rate_per_second,
        data_margin=settings.data_margin,
    )


def transport(settings: MailSettings, limits: SmtpLimits) -> Transport:
    """What the settings choose; it connects with the first mail. Raises `Misconfigured`."""
    if settings.transport == "sendgrid":
        return SendGridTransport(sendgrid_account(settings), limits.data_margin)
    return SmtpTransport(smtp_server(settings), limits, access_tokens(settings))


def writer(settings: MailSettings) -> Writer:
    """What writes mails as the transport takes them."""
    return write_request if settings.transport == "sendgrid" else write_mime


def smtp_server(settings: MailSettings) -> SmtpServer:
    """The mail server that the settings describe; raises `Misconfigured`."""
    if (oauth := settings.oauth) is not None:
        return token_server(oauth.host, oauth.oauth_port, oauth.oauth_secure, oauth.user, settings.tls_options)
    uri, password = settings.smtp_connection_uri, settings.smtp_password
    return parse_server(
        uri.get_secret_value() if uri else "", password.get_secret_value() if password else None, settings.tls_options
    )


def access_tokens(settings: MailSettings) -> AccessTokens | None:
    """Where the tokens for the mail server's login come from, if it wants any; raises `Misconfigured`."""
    return AccessTokens(_oauth_client(settings.oauth)) if settings.oauth else None


def _oauth_client(oauth: OAuthSettings) -> OAuthClient:
    # The system's authorities, and not TLS_OPTIONS: those are about the mail server.
    return OAuthClient(
        site=Site.parse("OAUTH_TOKEN_URL", oauth.oauth_token_url, ssl.create_default_context()),
        client_id=oauth.client_id,
        client_secret=_secret("CLIENT_SECRET", oauth.client_secret),
        grant=oauth.oauth_grant,
        refresh_token=_secret("REFRESH_TOKEN", oauth.refresh_token) if oauth.refresh_token else None,
    )


def sendgrid_account(settings: MailSettings) -> SendGridAccount:
    """The API and the key that the settings give; raises `Misconfigured`."""
    tls = build_context(parse_tls_options(settings.tls_options, {}))
    name = "SENDGRID_API_KEY" if settings.sendgrid_api_key else "SMTP_PASSWORD"
    return SendGridAccount(
        Site.parse("SENDGRID_API_URL", settings.sendgrid_api_url, tls),
        _secret(name, settings.api_key or SecretStr("")),
    )


def _secret(name: str, value: SecretStr) -> str:
    """Without the line end that a file leaves behind; nothing else that can't stand in a request."""
    text = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise Misconfigured(f"{name}=(a secret): expected printable ASCII without spaces")
    return text


def defaults(settings: MailSettings) -> Defaults:
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

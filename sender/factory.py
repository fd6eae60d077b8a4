"""From the mail settings to what mail leaves by: transports, and what writes for them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import SecretStr

from sender.document.addresses import Address, BadAddress, mailboxes, parse_addresses
from sender.message.attachments import Loader
from sender.message.compose import Defaults, encode_mime
from sender.message.draft import EncodedMail, Encoder, MailDraft
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.net import host_patterns
from sender.net.http import HttpsEndpoint
from sender.settings import MailSettings, OAuthSettings, TransportSettings, naming
from sender.transport.envelope import DEFAULT_TRANSPORT, Transport
from sender.transport.oauth import AccessTokens, OAuthClient
from sender.transport.routing import RoutedTransport, Routes
from sender.transport.sendgrid import SendGridAccount, SendGridTransport
from sender.transport.smtp.config import SmtpServer, parse_server, token_server
from sender.transport.smtp.tls import build_context, parse_tls_options
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Channel:
    """What writes a mail, and what sends it then."""

    write: Encoder
    transport: Transport


def build_channel(settings: MailSettings, data_margin: float, turn_seconds: float) -> Channel:
    """All that the settings describe as one; it connects with the first mail. Raises `Misconfigured`.

    `data_margin`: the seconds of an attempt that must be left for the mail itself to be begun. `turn_seconds`: how long
    a mail waits for a free connection.
    """
    only = Channel(_encoder(settings), transport(settings, data_margin, turn_seconds))
    if not settings.transports:
        return only
    encoders, transports = {DEFAULT_TRANSPORT: only.write}, {DEFAULT_TRANSPORT: only.transport}
    domains = {}
    for name, its in settings.transports.items():
        with naming(name):
            encoders[name], transports[name] = _encoder(its), transport(its, data_margin, turn_seconds)
            domains[name] = host_patterns.parse("FROM_DOMAINS", its.from_domains)
    return Channel(routed_encoder(Routes.of(domains), encoders), RoutedTransport(transports))


def routed_encoder(routes: Routes, encoders: Mapping[str, Encoder]) -> Encoder:
    """What writes each mail as its own transport takes it."""

    def write(draft: MailDraft, loader: Loader) -> EncodedMail:
        name = routes.choose(draft.document.transport, draft.author[0].domain)
        return replace(encoders[name](draft, loader), transport=name)

    return write


def mails_at_once(settings: MailSettings, threads: int) -> int:
    """How many mails the servers of all transports take at a time; SendGrid, as many as there are threads."""
    transports: list[TransportSettings] = [settings, *settings.transports.values()]
    return sum(_at_once(each, threads) for each in transports)


def _at_once(settings: TransportSettings, threads: int) -> int:
    if settings.transport == "sendgrid":
        return threads
    return min(settings.smtp_max_connections, smtp_server(settings).max_connections or settings.smtp_max_connections)


def transport(settings: TransportSettings, data_margin: float, turn_seconds: float) -> Transport:
    """The one transport that these settings describe; raises `Misconfigured`."""
    if settings.transport == "sendgrid":
        return SendGridTransport(sendgrid_account(settings), data_margin)
    limits = SmtpLimits(
        max_connections=settings.smtp_max_connections,
        turn_seconds=turn_seconds,
        mails_per_second=settings.smtp_rate_per_second,
        data_margin=data_margin,
    )
    return SmtpTransport(smtp_server(settings), limits, access_tokens(settings))


def _encoder(settings: TransportSettings) -> Encoder:
    return encode_sendgrid_request if settings.transport == "sendgrid" else encode_mime


def smtp_server(settings: TransportSettings) -> SmtpServer:
    """The mail server that the settings describe; raises `Misconfigured`."""
    if (oauth := settings.oauth) is not None:
        return token_server(oauth.host, oauth.oauth_port, oauth.oauth_secure, oauth.user, settings.tls_options)
    uri, password = settings.smtp_connection_uri, settings.smtp_password
    return parse_server(
        uri.get_secret_value() if uri else "", password.get_secret_value() if password else None, settings.tls_options
    )


def access_tokens(settings: TransportSettings) -> AccessTokens | None:
    """Where the tokens for the mail server's login come from, if it wants any; raises `Misconfigured`."""
    return AccessTokens(_oauth_client(settings.oauth)) if settings.oauth else None


def _oauth_client(oauth: OAuthSettings) -> OAuthClient:
    # The system's authorities, and not TLS_OPTIONS: those are about the mail server.
    return OAuthClient(
        endpoint=HttpsEndpoint.parse("OAUTH_TOKEN_URL", oauth.oauth_token_url, ssl.create_default_context()),
        client_id=oauth.client_id,
        client_secret=_secret("CLIENT_SECRET", oauth.client_secret),
        grant=oauth.oauth_grant,
        refresh_token=_secret("REFRESH_TOKEN", oauth.refresh_token) if oauth.refresh_token else None,
    )


def sendgrid_account(settings: TransportSettings) -> SendGridAccount:
    """The API and the key that the settings give; raises `Misconfigured`."""
    tls = build_context(parse_tls_options(settings.tls_options, {}))
    name = "SENDGRID_API_KEY" if settings.sendgrid_api_key else "SMTP_PASSWORD"
    return SendGridAccount(
        HttpsEndpoint.parse("SENDGRID_API_URL", settings.sendgrid_api_url, tls),
        _secret(name, settings.api_key or SecretStr("")),
    )


def _secret(name: str, value: SecretStr) -> str:
    """Without the line end that a file leaves behind; nothing else that can't stand in a request."""
    text = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise Misconfigured(f"{name}=(a secret): expected printable ASCII without spaces")
    return text


def defaults(settings: MailSettings) -> Defaults:
    """DEFAULT_FROM and DEFAULT_REPLY_TO as addresses, and those of the named transports; raises `Misconfigured`."""
    common = _defaults(settings.default_from, settings.default_reply_to)
    named = {}
    for name, its in settings.transports.items():
        with naming(name):
            sender, reply_to = its.default_from or settings.default_from, its.default_reply_to
            named[name] = _defaults(sender, reply_to or settings.default_reply_to)
    return Defaults(common.sender, common.reply_to, named)


def _defaults(default_from: str, reply_to: str | None) -> Defaults:
    sender, *others = _addresses("DEFAULT_FROM", default_from)
    if others:
        raise Misconfigured(f"DEFAULT_FROM={default_from!r}: expected one address")
    return Defaults(sender, _addresses("DEFAULT_REPLY_TO", reply_to) if reply_to else ())


def _addresses(name: str, text: str) -> tuple[Address, ...]:
    try:
        if found := tuple(mailboxes(parse_addresses(text, joins_names=True))):
            return found
    except BadAddress as error:
        raise Misconfigured(f"{name}={text!r}: expected a@b.c or Name <a@b.c>, found {error}") from error
    raise Misconfigured(f"{name}={text!r}: expected a@b.c or Name <a@b.c>")

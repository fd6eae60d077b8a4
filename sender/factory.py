"""Builds transports, and the encoders that match them, from the mail settings."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import SecretStr

from sender.document.addresses import Address, BadAddress, mailboxes, parse_addresses
from sender.message.attachments import Loader
from sender.message.compose import Defaults, encode_mime
from sender.message.draft import EncodedMail, Encoder, MailDraft
from sender.message.guard import Guard
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.net import host_patterns
from sender.net.http import HttpsEndpoint
from sender.settings import MailSettings, OAuthSettings, TransportSettings, naming
from sender.transport.breaker import BreakerRules
from sender.transport.envelope import DEFAULT_TRANSPORT, Transport
from sender.transport.oauth import AccessTokens, OAuthClient
from sender.transport.rate.limit import RateLimit
from sender.transport.rate.transport import RateLimitedTransport
from sender.transport.routing import Failover, RoutedTransport, Routes, anything
from sender.transport.sendgrid import SendGridAccount, SendGridTransport
from sender.transport.smtp.config import SmtpServer, parse_server, token_server
from sender.transport.smtp.tls import build_context, parse_tls_options
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.errors import Misconfigured

#: The limit of the transport with a name, for which so many mails per second are configured, or (None) any number.
RateLimits = Callable[[str, float | None], RateLimit | None]


def unlimited(name: str, mails_per_second: float | None) -> None:
    """No limit, for a process that sends single mails."""


@dataclass(frozen=True, slots=True)
class Channel:
    """An encoder (`encode`) and the transport that sends what it encodes."""

    encode: Encoder
    transport: Transport


def build_channel(
    settings: MailSettings,
    data_margin: float,
    turn_seconds: float,
    breaker: BreakerRules | None = None,
    rate_limits: RateLimits = unlimited,
    check: Callable[[str], None] = anything,
) -> Channel:
    """One channel for all configured transports; it connects with the first mail. Raises `Misconfigured`.

    `data_margin` is the number of seconds that must be left of an attempt when the content of a mail is started;
    `turn_seconds` is the longest that a mail waits for a free connection. `rate_limits` makes the limits that hold for
    all processes; by default there are none. `check` is as in `RoutedTransport`.
    """

    def transport(name: str, each: TransportSettings) -> Transport:
        limits = SmtpLimits(
            max_connections=each.smtp_max_connections,
            turn_seconds=turn_seconds,
            data_margin=data_margin,
            breaker=breaker or BreakerRules(),
        )
        unlimited, limit = _transport(each, limits), rate_limits(name, each.smtp_rate_per_second)
        return RateLimitedTransport(unlimited, limit, data_margin, turn_seconds) if limit else unlimited

    default = Channel(_encoder(settings), transport(DEFAULT_TRANSPORT, settings))
    if not settings.transports:
        return default
    encoders, transports = {DEFAULT_TRANSPORT: default.encode}, {DEFAULT_TRANSPORT: default.transport}
    domains = {}
    for name, named in settings.transports.items():
        with naming(name):
            encoders[name], transports[name] = _encoder(named), transport(name, named)
            domains[name] = host_patterns.parse("FROM_DOMAINS", named.from_domains)
    return Channel(
        routed_encoder(Routes.of(domains), encoders), RoutedTransport(transports, _failovers(settings), check)
    )


def _failovers(settings: MailSettings) -> Mapping[str, Failover]:
    """What each transport fails over to, by name; raises `Misconfigured`."""
    domains = {DEFAULT_TRANSPORT: host_patterns.parse("FAILOVER_DOMAINS", settings.failover_domains)}
    for name, named in settings.transports.items():
        with naming(name):
            domains[name] = host_patterns.parse("FAILOVER_DOMAINS", named.failover_domains)
    others = {
        DEFAULT_TRANSPORT: settings.failover,
        **{name: each.failover for name, each in settings.transports.items()},
    }
    return {name: Failover(other, domains[other]) for name, other in others.items() if other is not None}


def routed_encoder(routes: Routes, encoders: Mapping[str, Encoder]) -> Encoder:
    """An encoder that uses the encoder of each mail's transport."""

    def encode(draft: MailDraft, loader: Loader) -> EncodedMail:
        name = routes.choose(draft.document.transport, draft.author[0].domain)
        return replace(encoders[name](draft, loader), transport=name)

    return encode


def _transport(settings: TransportSettings, limits: SmtpLimits) -> Transport:
    if settings.transport == "sendgrid":
        return SendGridTransport(sendgrid_account(settings), limits.data_margin, limits.breaker)
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
    """The source of access tokens for AUTH_TYPE=OAuth2, otherwise None; raises `Misconfigured`."""
    return AccessTokens(_oauth_client(settings.oauth)) if settings.oauth else None


def _oauth_client(oauth: OAuthSettings) -> OAuthClient:
    # The system's certificate authorities: TLS_OPTIONS applies only to the mail server.
    return OAuthClient(
        endpoint=HttpsEndpoint.parse("OAUTH_TOKEN_URL", oauth.oauth_token_url, ssl.create_default_context()),
        client_id=oauth.client_id,
        client_secret=_secret("CLIENT_SECRET", oauth.client_secret),
        grant=oauth.oauth_grant,
        refresh_token=_secret("REFRESH_TOKEN", oauth.refresh_token) if oauth.refresh_token else None,
    )


def sendgrid_account(settings: TransportSettings) -> SendGridAccount:
    """SendGrid's API and the key from the settings; raises `Misconfigured`."""
    tls = build_context(parse_tls_options(settings.tls_options, {}))
    name = "SENDGRID_API_KEY" if settings.sendgrid_api_key else "SMTP_PASSWORD"
    return SendGridAccount(
        HttpsEndpoint.parse("SENDGRID_API_URL", settings.sendgrid_api_url, tls),
        _secret(name, settings.api_key or SecretStr("")),
    )


def _secret(name: str, value: SecretStr) -> str:
    """The secret, without the line end that comes from a file; raises `Misconfigured` if it can't be sent by HTTP."""
    text = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise Misconfigured(f"{name}=(a secret): expected printable ASCII without spaces")
    return text


def guard(settings: MailSettings) -> Guard | None:
    """Who may get mail; None: anybody. Raises `Misconfigured`."""
    return Guard.parse(settings.guard.recipients_allowed, settings.guard.recipients_redirect)


def defaults(settings: MailSettings) -> Defaults:
    """DEFAULT_FROM and DEFAULT_REPLY_TO of all transports, parsed; raises `Misconfigured`."""
    common = _defaults(settings.default_from, settings.default_reply_to)
    by_name = {}
    for name, named in settings.transports.items():
        with naming(name):
            sender, reply_to = named.default_from or settings.default_from, named.default_reply_to
            by_name[name] = _defaults(sender, reply_to or settings.default_reply_to)
    return Defaults(common.sender, common.reply_to, by_name)


def _defaults(default_from: str, reply_to: str | None) -> Defaults:
    sender, *others = _addresses("DEFAULT_FROM", default_from)
    if others:
        raise Misconfigured(f"DEFAULT_FROM: expected one address, found {len(others) + 1}")
    return Defaults(sender, _addresses("DEFAULT_REPLY_TO", reply_to) if reply_to else ())


def _addresses(name: str, text: str) -> tuple[Address, ...]:
    try:
        if found := tuple(mailboxes(parse_addresses(text, joins_names=True))):
            return found
    except BadAddress as error:
        raise Misconfigured(f"{name}: expected a@b.c or Name <a@b.c>, found {error}") from error
    raise Misconfigured(f"{name}: expected a@b.c or Name <a@b.c>, found no address")

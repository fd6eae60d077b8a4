"""Parses the mail server's settings: `SMTP_CONNECTION_URI` or `HOST`, `SMTP_PASSWORD` and `TLS_OPTIONS`."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote

from sender.net.host_patterns import can_be_host
from sender.transport.masking import MASK
from sender.transport.smtp.tls import TlsOptions, build_context, parse_tls_options
from shared.errors import Misconfigured

EXPECTED = "smtp://USER@HOST:PORT or smtps://USER@HOST:PORT"

#: The supported query options of nodemailer's connection URLs, apart from `tls.*`. `pool` has no effect, because
#: connections are always kept open; `pipelining` is Firepost's own.
OPTIONS = (
    "connectionTimeout",
    "greetingTimeout",
    "ignoreTLS",
    "maxConnections",
    "maxMessages",
    "name",
    "pipelining",
    "pool",
    "requireTLS",
    "secure",
    "socketTimeout",
)

_HOST = re.compile(
    r"(?: \[ (?P<ipv6> [0-9A-Fa-f:.]+ (?:%25[\w.-]+)? ) \] | (?P<name> [^\s:/?\#\[\]]+ ) )"
    r"(?: : (?P<port> [0-9]{1,5} ) )?"
    r"/? (?: \? (?P<query> .* ) )?",
    re.VERBOSE,
)


class Encryption(Enum):
    """When TLS starts on a connection."""

    IMPLICIT = "from the first byte (smtps://)"
    REQUIRED = "by STARTTLS, or nothing is sent (requireTLS)"
    OFFERED = "by STARTTLS if the server offers it"
    NEVER = "not at all (ignoreTLS)"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of single steps, in seconds; the attempt's deadline applies in addition.

    The defaults are those of RFC 5321 section 4.5.3.2. They exceed any attempt, so normally only the deadline counts:
    some servers take half a minute to greet or to check recipients. The limit for the connection is shorter, because a
    host may have other addresses.
    """

    connect: float = 10.0
    """Per address, and again for the TLS handshake."""
    greeting: float = 300.0
    command: float = 300.0
    data: float = 600.0


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server with login, encryption and limits.

    `servername` is the name that the certificate must have, `client_name` the one that EHLO sends. `max_connections`
    and `max_mails` (per connection) are None unless the URI limits them. `pipelining` is whether to use PIPELINING if
    the server offers it. `shown_host` replaces the host in texts, if it may be a secret.
    """

    host: str
    port: int
    encryption: Encryption
    tls: ssl.SSLContext = field(repr=False, compare=False)
    servername: str
    client_name: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeouts: Timeouts = Timeouts()
    max_connections: int | None = None
    max_mails: int | None = None
    pipelining: bool = True
    shown_host: str = ""

    def __str__(self) -> str:
        host = self.shown_host or self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_server(uri: str, password: str | None = None, tls_options: str | None = None) -> SmtpServer:
    """Parse the mail server's settings as nodemailer does (nodemailer.com/smtp).

    `password` (`SMTP_PASSWORD`) replaces the URI's. User and password end at the last `@`, so they may contain any
    character; only a `:` in the user, and a `%` before two hexadecimal digits, must be percent-encoded. Unlike Trigger
    Email, certificates are verified, and an unknown option is an error.

    Raises `Misconfigured` with one line of text. It quotes nothing: in a wrong URI, any part may be the password.
    """
    scheme, _, rest = uri.strip().partition("://")
    if scheme.lower() not in ("smtp", "smtps"):
        raise _bad_uri(f"expected {EXPECTED}, found another beginning")
    implicit = scheme.lower() == "smtps"
    userinfo, _, location = rest.rpartition("@")
    match = _HOST.fullmatch(location)
    if match is None:
        found = "something else than a host after the last @" if "@" in rest else "no host"
        raise _bad_uri(f"expected {EXPECTED}, optionally followed by options such as ?requireTLS=true, found {found}")
    options, uri_tls = _parse_query(match["query"] or "")
    user, secret = _credentials(userinfo, password)
    host = unquote(match["ipv6"] or match["name"])
    if not can_be_host(host):
        raise _bad_uri("the host is neither a domain name nor an IP address")
    tls = parse_tls_options(tls_options, uri_tls)
    return SmtpServer(
        host=host,
        port=_port(match["port"], 465 if implicit else 587),
        encryption=_encryption(implicit, options),
        tls=build_context(tls),
        servername=_servername(tls, host),
        client_name=_client_name(options),
        user=user,
        password=secret,
        timeouts=_timeouts(options),
        max_connections=_number(options, "maxConnections"),
        max_mails=_number(options, "maxMessages"),
        pipelining=_flag(options, "pipelining", default="true"),
        shown_host=MASK if ":" in userinfo and _may_be_password(host) else "",
    )


def _may_be_password(host: str) -> bool:
    """Whether the end of a password may have been taken for the host: `smtp://user:pass@word`, without a host."""
    return "." not in host and ":" not in host and host != "localhost"


def token_server(host: str, port: int | None, implicit: bool, user: str, tls_options: str | None) -> SmtpServer:
    """The mail server for Trigger Email's `AUTH_TYPE=OAuth2`, with login by access token.

    Unless TLS is `implicit` (`OAUTH_SECURE`), STARTTLS is required, unlike in Trigger Email: a token deserves the same
    protection as a password. Raises `Misconfigured`.
    """
    if not re.fullmatch(r"[^\s:/?#\[\]@]+", host) or not can_be_host(host):
        raise Misconfigured("HOST: expected the mail server's name alone, such as smtp.gmail.com.")
    if not re.fullmatch(r"[!-~]+", user):
        raise Misconfigured("USER: expected the mailbox's address, in ASCII and without spaces.")
    tls = parse_tls_options(tls_options, {})
    return SmtpServer(
        host=host,
        port=port or (465 if implicit else 587),
        encryption=Encryption.IMPLICIT if implicit else Encryption.REQUIRED,
        tls=build_context(tls),
        servername=_servername(tls, host),
        client_name=_client_name({}),
        user=user,
    )


def _bad_uri(expected: str) -> Misconfigured:
    return Misconfigured(f"SMTP_CONNECTION_URI: {expected}.")


def _credentials(userinfo: str, password: str | None) -> tuple[str | None, str | None]:
    user, _, secret = userinfo.partition(":")
    try:
        user, secret = unquote(user, errors="strict"), unquote(secret, errors="strict")
    except UnicodeDecodeError:
        raise _bad_uri("a '%' in user or password that does not encode UTF-8 must be written as %25") from None
    secret = password or secret
    if not user and not secret:
        return None, None
    if not user:
        raise _bad_uri(f"there is a password, but no user; expected {EXPECTED}")
    if not secret:
        raise _bad_uri("there is a user, but no password; set SMTP_PASSWORD")
    return user, secret


def _servername(tls: TlsOptions, host: str) -> str:
    if tls.servername and not can_be_host(tls.servername):
        raise Misconfigured("TLS_OPTIONS: option 'servername' is not a domain name.")
    return tls.servername or host


def _port(port: str | None, default: int) -> int:
    number = int(port) if port else default
    if not 0 < number < 65536:
        raise _bad_uri("the port must be from 1 to 65535")
    return number


def _client_name(options: Mapping[str, str]) -> str:
    # Not socket.getfqdn(), which queries the DNS. RFC 5321 section 4.1.3: hosts without a name send an address literal.
    own = socket.gethostname()
    name = options.get("name") or (own if "." in own and own.isascii() else "[127.0.0.1]")
    if not re.fullmatch(r"[!-~]+", name):
        raise Misconfigured("SMTP_CONNECTION_URI: option 'name' must be a host name in ASCII.")
    return name


def _parse_query(query: str) -> tuple[dict[str, str], dict[str, object]]:
    """The options by name, and separately those of `tls.*`, without the prefix and with booleans converted."""
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    booleans = {"true": True, "false": False}
    tls: dict[str, object] = {
        name.removeprefix("tls."): booleans.get(value, value)
        for name, value in pairs.items()
        if name.startswith("tls.")
    }
    options = {name: value for name, value in pairs.items() if not name.startswith("tls.")}
    if unknown := [number for number, name in enumerate(pairs, 1) if not (name in OPTIONS or name.startswith("tls."))]:
        raise _bad_uri(f"option {unknown[0]} after the '?' is unknown; allowed are {', '.join(OPTIONS)} and tls.*")
    return options, tls


def _encryption(implicit: bool, options: Mapping[str, str]) -> Encryption:
    required, ignored = _flag(options, "requireTLS"), _flag(options, "ignoreTLS")
    if required and ignored:
        raise Misconfigured("SMTP_CONNECTION_URI: requireTLS and ignoreTLS exclude each other.")
    if "secure" in options and _flag(options, "secure") is not implicit:
        raise Misconfigured("SMTP_CONNECTION_URI: 'secure' contradicts the scheme; smtps:// means secure=true.")
    if implicit:
        return Encryption.IMPLICIT
    if required:
        return Encryption.REQUIRED
    return Encryption.NEVER if ignored else Encryption.OFFERED


def _flag(options: Mapping[str, str], name: str, default: str = "false") -> bool:
    value = options.get(name, default)
    if value not in ("true", "false"):
        raise Misconfigured(f"SMTP_CONNECTION_URI: option '{name}': expected true or false.")
    return value == "true"


def _number(options: Mapping[str, str], name: str) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        raise Misconfigured(f"SMTP_CONNECTION_URI: option '{name}': expected a whole number from 1.")
    return int(value)


def _timeouts(options: Mapping[str, str]) -> Timeouts:
    """From nodemailer's options, which are in milliseconds; `socketTimeout` applies to every reply."""
    default = Timeouts()

    def seconds(name: str, otherwise: float) -> float:
        milliseconds = _number(options, name)
        return otherwise if milliseconds is None else milliseconds / 1000

    return Timeouts(
        connect=seconds("connectionTimeout", default.connect),
        greeting=seconds("greetingTimeout", default.greeting),
        command=seconds("socketTimeout", default.command),
        data=seconds("socketTimeout", default.data),
    )

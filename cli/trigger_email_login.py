"""How Trigger Email logs in to the mail server, as Firepost's configuration. Pure; a part of `trigger_email`.

Trigger Email's ways are those of transportLayer in
https://github.com/firebase/extensions/blob/main/kits/firestore-send-email/src/helpers.ts
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from cli.parameters import Configuration, Finding, Given, Result, planned_secret, value_of
from sender.transport.smtp.config import parse_server
from sender.transport.smtp.tls import parse_tls_options
from shared.errors import Misconfigured

_OAUTH_SECRETS: Final = ("CLIENT_SECRET", "REFRESH_TOKEN")
_OAUTH_OPTIONAL: Final = ("OAUTH_PORT", "OAUTH_SECURE")
_OAUTH: Final = ("HOST", "USER", *_OAUTH_OPTIONAL, "CLIENT_ID", *_OAUTH_SECRETS)

_SENDGRID: Final = "smtp.sendgrid.net"
#: If the host contains one of these, Trigger Email uses another server.
_MICROSOFT: Final = ("outlook", "office365", "hotmail")


def on_login(given: Given, into: Configuration) -> Iterator[Finding]:
    """About the way to the mail server: SendGrid's Web API, OAuth, or a URI with a password."""
    kind, uri = value_of(given, "AUTH_TYPE"), value_of(given, "SMTP_CONNECTION_URI")
    oauth = kind == "OAuth2"
    result, text = Result.SAME, ""
    if kind not in ("UsernamePassword", "OAuth2"):
        result, text = Result.DIFFERS, "Firepost has UsernamePassword, which is the default, and OAuth2."
    yield Finding("AUTH_TYPE", result, "settings.AUTH_TYPE" if oauth else "", text)
    if _host(uri) == _SENDGRID and "SMTP_PASSWORD" in given:
        yield from _on_sendgrid(given, into)
    elif oauth:
        yield from _on_oauth(given, into)
    else:
        yield from _on_uri(given, into, uri)
    if not oauth:
        yield from (Finding(own, Result.UNUSED, text="It is read only with AUTH_TYPE=OAuth2.") for own in _OAUTH)


def _host(uri: str) -> str:
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""


def _on_sendgrid(given: Given, into: Configuration) -> Iterator[Finding]:
    into.settings["TRANSPORT"] = "sendgrid"
    text = "With this host, Trigger Email uses SendGrid's Web API, as Firepost does with TRANSPORT=sendgrid."
    yield Finding("SMTP_CONNECTION_URI", Result.DIFFERS, "settings.TRANSPORT", text)
    yield planned_secret(given, into, "SMTP_PASSWORD", "SENDGRID_API_KEY", "It is the API key.")
    if value_of(given, "AUTH_TYPE") == "OAuth2":
        yield from (Finding(own, Result.UNUSED, text="SendGrid's Web API needs no OAuth.") for own in _OAUTH)


def _on_oauth(given: Given, into: Configuration) -> Iterator[Finding]:
    into.settings["AUTH_TYPE"] = "OAuth2"
    for own in ("SMTP_CONNECTION_URI", "SMTP_PASSWORD"):
        yield Finding(own, Result.UNUSED, text="It is not read with AUTH_TYPE=OAuth2.")
    for own in _OAUTH:
        place = f"secrets.{own}" if own in _OAUTH_SECRETS else f"settings.{own}"
        if own not in given:
            if own not in _OAUTH_OPTIONAL:
                yield Finding(own, Result.TO_DO, place, _absent(own))
        elif own in _OAUTH_SECRETS:
            yield planned_secret(given, into, own, own)
        elif secret := given[own].secret:
            command = f"gcloud secrets versions access {secret.version} --secret={secret.secret}"
            text = f"It is a plain setting: put in what {command} --project={secret.project} prints."
            yield Finding(own, Result.TO_DO, place, text)
        else:
            into.settings[own] = given[own].value
            yield _on_oauth_setting(own, given[own].value, place)


def _on_oauth_setting(own: str, value: str, place: str) -> Finding:
    if own == "OAUTH_SECURE" and value == "false":
        text = "Firepost then requires STARTTLS; Trigger Email uses it if it is offered."
        return Finding(own, Result.DIFFERS, place, text)
    return Finding(own, Result.SAME, place)


def _absent(own: str) -> str:
    if own in ("HOST", "USER"):
        return "The file lacks it."
    return (
        f"The file lacks it. If a function kit has it in the secret {own}, add the line "
        f"{own}=projects/PROJECT/secrets/{own}/versions/latest to the file, and import it again."
    )


def _on_uri(given: Given, into: Configuration, uri: str) -> Iterator[Finding]:
    if not uri:
        yield Finding("SMTP_CONNECTION_URI", Result.TO_DO, "secrets.SMTP_CONNECTION_URI", "The file lacks it.")
        return
    has_password = "SMTP_PASSWORD" in given
    fault, texts = _uri_fault(uri, has_password), _uri_texts(uri, has_password)
    finding = planned_secret(given, into, "SMTP_CONNECTION_URI", "SMTP_CONNECTION_URI", " ".join(texts))
    yield Finding(finding.parameter, Result.TO_DO, finding.place, " ".join((fault, *texts))) if fault else finding
    if has_password:
        yield planned_secret(given, into, "SMTP_PASSWORD", "SMTP_PASSWORD")
    elif "no password" in fault:
        yield Finding("SMTP_PASSWORD", Result.TO_DO, "secrets.SMTP_PASSWORD", _absent("SMTP_PASSWORD"))


def _uri_fault(uri: str, has_password: bool) -> str:
    try:
        parse_server(uri, "x" if has_password else None)
    except Misconfigured as error:
        return f"Firepost refuses it: {error}"
    return ""


def _uri_texts(uri: str, has_password: bool) -> Iterator[str]:
    """What is different with Firepost, or dangerous, in sentences."""
    host = _host(uri)
    userinfo = uri.partition("://")[2].rpartition("@")[0]
    if ":" in userinfo:
        password = "SMTP_PASSWORD replaces the password in it." if has_password else "It contains the password."
        yield f"{password} Firepost keeps the whole URI secret."
    if host == _SENDGRID:
        yield "With this host, Trigger Email uses SendGrid's Web API. Firepost uses SMTP: see docs/transports.md."
    if any(part in host for part in _MICROSOFT):
        yield (
            "Trigger Email really uses smtp-mail.outlook.com:587. Firepost uses the host in the URI: "
            "test it with python -m sender check."
        )
    if re.search(r":25/?(?:\\?|$)", uri):
        yield "Google Cloud blocks port 25: use 587 or 465."


def on_tls(given: Given, into: Configuration) -> Iterator[Finding]:
    """About `TLS_OPTIONS`."""
    text = value_of(given, "TLS_OPTIONS")
    if not text:
        return
    try:
        options = parse_tls_options(text, {})
    except Misconfigured as error:
        yield Finding("TLS_OPTIONS", Result.TO_DO, "settings.TLS_OPTIONS", f"Firepost refuses it: {error}")
        return
    if not options.model_fields_set:
        yield Finding("TLS_OPTIONS", Result.SAME)
    elif options.key:
        yield planned_secret(given, into, "TLS_OPTIONS", "TLS_OPTIONS", "It contains a private key, so it is a secret.")
    else:
        into.settings["TLS_OPTIONS"] = json.dumps(json.loads(text))
        warning = "Nobody checks who the mail server is: better give its authority as ca, or remove rejectUnauthorized."
        unsafe = not options.reject_unauthorized
        result, note = (Result.DIFFERS, warning) if unsafe else (Result.SAME, "")
        yield Finding("TLS_OPTIONS", result, "settings.TLS_OPTIONS", note)

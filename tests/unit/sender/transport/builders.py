"""Test data, settings and deadlines for the transport's tests."""

from __future__ import annotations

import json
import ssl

import trustme

from sender.transport.envelope import Envelope
from sender.transport.smtp.config import SmtpServer, parse_server
from sender.transport.smtp.connection import SmtpConnection
from shared.deadline import Deadline
from tests.smtp_server import ScriptedServer

ANA, BOB, CLEO = "ana@example.com", "bob@example.com", "cleo@example.com"

#: Issues the scripted servers' certificates. `server_at` trusts only this authority, which also saves loading the
#: system's authorities for each test.
AUTHORITY = trustme.CA()


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


DATA = b"Subject: Hello\r\n\r\nHow are you?\r\n"


def soon(seconds: float = 5.0) -> Deadline:
    """A deadline that a test only reaches on purpose."""
    return Deadline.after(seconds)


def envelope(*recipients: str, sender: str = "shop@example.com") -> Envelope:
    return Envelope(sender, recipients or (ANA,))


def server_at(
    smtp: ScriptedServer, options: str = "", *, login: str = "", host: str = "127.0.0.1", **tls_options: object
) -> SmtpServer:
    """The settings for a scripted server; `login` is the URI's user and password, `options` its query."""
    return parse_server(smtp.uri(login, host) + options, None, json.dumps({"ca": pem(AUTHORITY), **tls_options}))


def connect(server: SmtpServer, seconds: float = 5.0) -> SmtpConnection:
    return SmtpConnection(server, soon(seconds))


def trusting() -> ssl.SSLContext:
    """A client context that trusts only the scripted servers."""
    return ssl.create_default_context(cadata=pem(AUTHORITY))

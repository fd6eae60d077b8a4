"""What the tests of the transport send, and how they wait for it."""

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

#: Whom the scripted servers' certificates are from, and whom `server_at` trusts: nobody else, which also spares reading
#: the system's hundred authorities for each test.
AUTHORITY = trustme.CA()


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


DATA = b"Subject: Hello\r\n\r\nHow are you?\r\n"


def soon(seconds: float = 5.0) -> Deadline:
    """A deadline that no test reaches unless it means to."""
    return Deadline.after(seconds)


def envelope(*recipients: str, sender: str = "shop@example.com") -> Envelope:
    return Envelope(sender, recipients or (ANA,))


def server_at(
    smtp: ScriptedServer, options: str = "", *, login: str = "", host: str = "127.0.0.1", **tls_options: object
) -> SmtpServer:
    """The settings for a scripted server; `login` as it stands in the URI, `options` its query."""
    return parse_server(smtp.uri(login, host) + options, None, json.dumps({"ca": pem(AUTHORITY), **tls_options}))


def connect(server: SmtpServer, seconds: float = 5.0) -> SmtpConnection:
    return SmtpConnection(server, soon(seconds))


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the scripted servers, and nobody else."""
    return ssl.create_default_context(cadata=pem(AUTHORITY))

"""An SMTP server on this machine that delivers to nobody and keeps the last mails in memory for inspection.

To try failures by hand, write to a recipient whose local part begins with

    refuse…   permanently refused:     550 5.1.1
    later…    temporarily refused:     450 4.2.1
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from asyncio import BaseTransport
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from local.ports import LOOPBACK, free_port

KEPT_MAILS = 500
MAX_MAIL_BYTES = 50 * 1024 * 1024

_REFUSALS = {
    "refuse": "550 5.1.1 No such mailbox (this inbox refuses local parts that begin with 'refuse')",
    "later": "450 4.2.1 Mailbox busy (this inbox puts off local parts that begin with 'later')",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted mail: the SMTP envelope, and the message with CRLF line ends. `received` is in UTC."""

    number: int
    received: datetime
    sender: str
    recipients: tuple[str, ...]
    data: bytes


def refusal(recipient: str) -> str | None:
    """The SMTP reply for a recipient to refuse, None for all others."""
    for beginning, reply in _REFUSALS.items():
        if recipient.lower().startswith(beginning):
            return reply
    return None


class Inbox:
    """The mails received so far, and the server that receives them, which can be stopped and restarted."""

    def __init__(self) -> None:
        self.port = free_port()
        self._mails: deque[Mail] = deque(maxlen=KEPT_MAILS)
        self._numbers = itertools.count(1)
        self._change = threading.Lock()
        self._server: _Server | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def uri(self) -> str:
        """The value of SMTP_CONNECTION_URI for this inbox."""
        return f"smtp://{self.address}"

    def start(self) -> None:
        """Accept connections, on the same port each time."""
        self._server = _Server(self)
        self._server.start()

    def stop(self) -> None:
        """Accept no more connections and close the open ones. Safe to call twice."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def mails(self) -> list[Mail]:
        """The kept mails, oldest first."""
        with self._change:
            return list(self._mails)

    def find(self, number: int) -> Mail | None:
        """The mail with that number, if it is still kept."""
        return next((mail for mail in self.mails() if mail.number == number), None)

    def clear(self) -> None:
        """Delete all mails."""
        with self._change:
            self._mails.clear()

    def keep(self, sender: str, recipients: Sequence[str], data: bytes) -> Mail:
        """Add a mail, dropping the oldest if there are too many. Bytes of an address that are not UTF-8 are escaped."""
        legible = [text.encode("utf-8", "backslashreplace").decode() for text in (sender, *recipients)]
        with self._change:
            mail = Mail(next(self._numbers), datetime.now(UTC), legible[0], tuple(legible[1:]), data)
            self._mails.append(mail)
            return mail


class _Server(Controller):
    """The SMTP server from a start to a stop, in a thread of its own."""

    def __init__(self, inbox: Inbox) -> None:
        self.connections: set[BaseTransport] = set()
        super().__init__(
            _Handler(inbox),
            hostname=LOOPBACK,
            port=inbox.port,
            server_hostname="inbox.localhost",
            ident="Firepost inbox",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
        )

    def factory(self) -> _Session:
        return _Session(self.connections, self.handler, **self.SMTP_kwargs)

    def stop(self, no_assert: bool = False) -> None:
        self.loop.call_soon_threadsafe(self._cut_connections)
        super().stop(no_assert)

    def _cut_connections(self) -> None:
        for connection in self.connections:
            connection.close()


class _Session(SMTP):
    """One connection, registered with its server, which can close it."""

    def __init__(self, connections: set[BaseTransport], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._own = transport
        self._connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self._own)
        super().connection_lost(error)

    async def _hang_up(self, arg: str) -> None:
        """Read no further: the rest of an HTTP request may be SMTP commands that a web page has put there."""
        await self.push("554 5.5.1 This is a mail server, not a web server")
        raise asyncio.CancelledError  # ends the loop that reads commands, and closes the connection

    #: The methods that a browser sends to any port without asking first. The library calls `smtp_` + command.
    smtp_GET = smtp_HEAD = smtp_POST = _hang_up  # noqa: N815


class _Handler:
    """aiosmtpd's callbacks for each mail; it prescribes the names."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = refusal(address)
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        data = envelope.original_content or b""
        mail = self._inbox.keep(envelope.mail_from or "", envelope.rcpt_tos, data)
        return f"250 2.0.0 Ok: kept as mail {mail.number}"

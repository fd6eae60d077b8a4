"""An SMTP server on this machine that delivers to nobody and keeps the last mails for inspection.

To try failures by hand, write to a recipient whose local part begins with

    refuse…   permanently refused:     550 5.1.1
    later…    temporarily refused:     450 4.2.1

or choose a fault for all mails (`InboxFault`).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from asyncio import AbstractServer, BaseTransport
from collections.abc import Awaitable
from enum import StrEnum
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from local.mailstore import MailStore
from local.ports import LOOPBACK, listening_at

MAX_MAIL_BYTES = 50 * 1024 * 1024
#: Recipients of one mail; RFC 5321 section 4.5.3.1.8 asks for 100 at least.
MAX_RECIPIENTS = 1000
#: The longest delay on demand, in seconds.
LONGEST_DELAY = 600.0

_REFUSALS = {
    "refuse": "550 5.1.1 No such mailbox (this inbox refuses local parts that begin with 'refuse')",
    "later": "450 4.2.1 Mailbox busy (this inbox puts off local parts that begin with 'later')",
}


class InboxFault(StrEnum):
    """What the inbox does to all mails, on demand."""

    NONE = "none"
    REFUSE = "refuse"
    """Refuse every recipient permanently: 550."""
    LATER = "later"
    """Refuse every recipient for now: 450."""
    DELAY = "delay"
    """Answer only after some seconds."""
    DROP = "drop"
    """Hang up before the content, so that the mail is surely not sent."""
    LOSE_REPLY = "lose-reply"
    """Keep the mail, and hang up without an answer, so that its sender can't know."""
    DOWN = "down"
    """Accept no connections."""


def refusal(recipient: str, fault: InboxFault = InboxFault.NONE) -> str | None:
    """The SMTP reply for a recipient to refuse, None for all others."""
    if fault is InboxFault.REFUSE:
        return "550 5.1.1 No such mailbox (this inbox refuses everybody at the moment)"
    if fault is InboxFault.LATER:
        return "450 4.2.1 Mailbox busy (this inbox puts off everybody at the moment)"
    for beginning, reply in _REFUSALS.items():
        if recipient.lower().startswith(beginning):
            return reply
    return None


class Inbox:
    """The server that puts mails into a store; it can be stopped and restarted."""

    def __init__(self, store: MailStore, listener: socket.socket) -> None:
        """`listener` listens at the inbox's port. It is closed by `stop`."""
        self.store = store
        self.port: int = listener.getsockname()[1]
        self.fault = InboxFault.NONE
        self.delay = 0.0
        self._change = threading.RLock()
        self._listener: socket.socket | None = listener
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
        """Accept connections, on the same port each time. Raises `CannotStart` if another program has it now."""
        with self._change:
            if self._server is None:
                listener = self._listener or listening_at(self.port, "--smtp-port")
                self._listener = None
                self._server = _Server(self, listener)
                self._server.start()

    def stop(self) -> None:
        """Accept no more connections and close the open ones. Safe to call twice."""
        with self._change:
            if self._server is not None:
                self._server.stop()
                self._server = None
            elif self._listener is not None:
                self._listener.close()
                self._listener = None

    def set_fault(self, fault: InboxFault, delay: float = 0.0) -> None:
        """From now on, do this to all mails; `delay` in seconds is for DELAY. Raises as `start` does."""
        with self._change:
            self.fault = fault
            self.delay = delay
            if fault is InboxFault.DOWN:
                self.stop()
            else:
                self.start()


class _Server(Controller):
    """The SMTP server from a start to a stop, in a thread of its own."""

    def __init__(self, inbox: Inbox, listener: socket.socket) -> None:
        self.connections: set[BaseTransport] = set()
        self._listener = listener
        super().__init__(
            _Handler(inbox),
            hostname=LOOPBACK,
            port=inbox.port,
            server_hostname="inbox.localhost",
            ident="Firepost inbox",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
        )

    def _create_server(self) -> Awaitable[AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)

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

    async def _refuse_http(self, arg: str) -> None:
        """Read no further: the rest of an HTTP request may be SMTP commands that a web page has put there."""
        await self.push("554 5.5.1 This is a mail server, not a web server")
        _hang_up()

    #: The methods that a browser sends to any port without asking first. The library calls `smtp_` + command.
    smtp_GET = smtp_HEAD = smtp_POST = _refuse_http  # noqa: N815


def _hang_up() -> None:
    """End the loop that reads commands, which closes the connection."""
    raise asyncio.CancelledError


class _Handler:
    """aiosmtpd's callbacks for each mail; it prescribes the names."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._inbox.fault is InboxFault.DROP:
            _hang_up()
        reply = refusal(address, self._inbox.fault)
        if reply:
            return reply
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return f"452 4.5.3 This inbox takes at most {MAX_RECIPIENTS} recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self._inbox.fault is InboxFault.DELAY:
            await asyncio.sleep(self._inbox.delay)
        content = (envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content or b"")
        try:
            mail = await asyncio.to_thread(self._inbox.store.keep, *content)
        except OSError as error:
            return f"452 4.3.1 The mail can't be kept: {error.strerror}"
        if self._inbox.fault is InboxFault.LOSE_REPLY:
            _hang_up()
        return f"250 2.0.0 Ok: kept as mail {mail.number}"

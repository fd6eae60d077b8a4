"""The mail server: real SMTP over real sockets, faults as planned, and a log of every accepted mail."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import BaseTransport
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from chaos.plan import UNHEARD, Fate, Interruption, Plan
from local.ports import LOOPBACK, free_port

#: Seconds for which a stalled server is silent: longer than any attempt.
STALL_SECONDS = 30.0

_REPLIES = {
    Fate.PUT_OFF: "451 4.3.0 Not now",
    Fate.REFUSE: "550 5.1.1 Never",
    Fate.THROTTLE: "421 4.7.0 Too many messages, slow down",
}


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A mail that the server accepted for one recipient, from the process `sender` at `time` (monotonic seconds).

    `heard` is whether the server has also confirmed that.
    """

    recipient: str
    message_id: str
    sender: str
    time: float
    heard: bool


class Log:
    """The mail server's log. Thread-safe."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()
        self._acceptances: list[Acceptance] = []
        self._mails: set[str] = set()

    def count_rcpt(self, recipient: str) -> int:
        """Count an RCPT for this recipient, and return the count."""
        with self._lock:
            self._attempts[recipient] += 1
            self._mails.add(recipient.partition(".")[0])
            return self._attempts[recipient]

    def attempt(self, recipient: str) -> int:
        """How many RCPTs this recipient has had."""
        return self._attempts[recipient]

    def record(self, acceptances: list[Acceptance]) -> None:
        """Record an accepted mail."""
        with self._lock:
            self._acceptances += acceptances

    def count_fault(self, what: str) -> None:
        """Count a fault."""
        with self._lock:
            self.faults[what] += 1

    def acceptances(self) -> list[Acceptance]:
        """All acceptances so far, in order."""
        with self._lock:
            return list(self._acceptances)

    def mails_seen(self) -> int:
        """How many mails have reached the server, accepted or not."""
        with self._lock:
            return len(self._mails)


class MailServer:
    """The endpoint of one sender's connections, so that the log knows each mail's sender."""

    def __init__(self, plan: Plan, log: Log, sender: str) -> None:
        self.port = free_port()
        self.plan = plan
        self.log = log
        self.sender = sender
        #: Whether it takes no connection, and no mail over those that are open.
        self.is_out = False
        self._armed: dict[Interruption, Callable[[], None]] = {}
        self._controller = _Controller(self)

    @property
    def uri(self) -> str:
        """The value of SMTP_CONNECTION_URI for this server."""
        return f"smtp://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Accept connections."""
        self._controller.start()

    def stop(self) -> None:
        """Accept no more connections, and close the open ones."""
        self._controller.stop()

    def at_next(self, moment: Interruption, act: Callable[[], None]) -> None:
        """Call `act` when the next mail reaches `moment`, before that mail is answered."""
        self._armed[moment] = act

    async def reached(self, moment: Interruption) -> None:
        """Call the action that waits for this moment, once."""
        act = self._armed.pop(moment, None)
        if act is not None:
            await asyncio.to_thread(act)


class _Controller(Controller):
    """aiosmtpd's server in a separate thread."""

    def __init__(self, server: MailServer) -> None:
        self.connections: set[BaseTransport] = set()
        self.accepted = 0
        self._mail_server = server
        super().__init__(_Handler(server), hostname=LOOPBACK, port=server.port, server_hostname="chaos.test")

    def factory(self) -> _Session:
        self.accepted += 1
        server = self._mail_server
        refused = server.is_out or server.plan.refuses_connection(server.sender, self.accepted)
        if refused:
            self._mail_server.log.count_fault("SMTP: connection refused")
        return _Session(self.connections, refused, self.handler, **self.SMTP_kwargs)

    def stop(self, no_assert: bool = False) -> None:
        self.loop.call_soon_threadsafe(self._cut_connections)
        super().stop(no_assert)

    def _cut_connections(self) -> None:
        for connection in self.connections:
            connection.close()


class _Session(SMTP):
    """One connection; a refused one ends immediately."""

    def __init__(self, connections: set[BaseTransport], refused: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections
        self._refused = refused

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._own = transport
        self._connections.add(transport)
        if self._refused:
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self._own)
        super().connection_lost(error)


class _Handler:
    """aiosmtpd's callbacks for each mail; it prescribes the names."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._headers = BytesHeaderParser()

    async def handle_RCPT(  # noqa: N802
        self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        server = self._server
        if server.is_out:
            server.log.count_fault("SMTP at RCPT: out")
            return await self._carry_out(smtp, Fate.DROP)
        attempt = server.log.count_rcpt(address)
        await server.reached(Interruption.KILL_AT_RCPT)
        fate = server.plan.at_rcpt(address, attempt)
        if fate is Fate.TAKE:
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 Ok"
        server.log.count_fault(f"SMTP at RCPT: {fate}")
        return await self._carry_out(smtp, fate)

    async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        server, first = self._server, envelope.rcpt_tos[0]
        fate = server.plan.at_data(first, server.log.attempt(first))
        if fate is not Fate.TAKE:
            server.log.count_fault(f"SMTP at DATA: {fate}")
        if fate is Fate.TAKE or fate in UNHEARD:
            self._take(envelope, heard=fate is Fate.TAKE)
            await server.reached(Interruption.KILL_AT_DATA)
        return "250 2.0.0 Ok" if fate is Fate.TAKE else await self._carry_out(smtp, fate)

    def _take(self, envelope: Envelope, heard: bool) -> None:
        message_id = str(self._headers.parsebytes(envelope.original_content or b"")["Message-ID"])
        now = time.monotonic()
        self._server.log.record(
            [Acceptance(recipient, message_id, self._server.sender, now, heard) for recipient in envelope.rcpt_tos]
        )

    async def _carry_out(self, smtp: SMTP, fate: Fate) -> str:
        if fate in _REPLIES:
            return _REPLIES[fate]
        if fate in (Fate.STALL, Fate.TAKE_AND_STALL):
            await asyncio.sleep(STALL_SECONDS)
        if smtp.transport is not None:
            smtp.transport.close()
        return "421 4.3.2 Gone"

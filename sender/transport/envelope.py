"""The interface between composing and sending: envelope, receipt and the `Transport` protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sender.document.dsn import Dsn
from shared.deadline import Deadline

#: The name of the transport that is configured by the unprefixed settings.
DEFAULT_TRANSPORT = "default"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender and recipients of a mail (RFC 5321 section 2.3.1).

    Addresses are bare (`a@b.c`) with ASCII domains; local parts may contain other characters. `dsn` lists the requested
    delivery status notifications; `transport` is the name of the transport for which the mail was encoded. `tenant` is
    whose mail it is, where rates are divided among tenants.
    """

    sender: str
    recipients: tuple[str, ...]
    dsn: Dsn | None = None
    transport: str = DEFAULT_TRANSPORT
    tenant: str = ""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address requires the SMTPUTF8 extension (RFC 6531)."""
        return not all(address.isascii() for address in (self.sender, *self.recipients))


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's answer to a mail that it accepted for at least one recipient.

    Recipients with a 2xx reply to RCPT are in `accepted`, 4xx in `pending`, 5xx in `rejected`, each in the envelope's
    order. `response` is the reply to the content ("250 2.0.0 Ok: queued as 4F2"); `queue_id` is SendGrid's message id.
    `warnings` list requested features that the server does not support. `retry_after` is the delay, in seconds, that
    the server announced for the pending recipients, if any. `transport` is the one that took the mail, if it is another
    one than the mail was encoded for.
    """

    accepted: tuple[str, ...]
    rejected: tuple[str, ...]
    pending: tuple[str, ...]
    response: str
    queue_id: str | None = None
    warnings: tuple[str, ...] = ()
    retry_after: float | None = None
    transport: str | None = None


#: Called before a mail is handed over; raises `Deferred` if it may not be.
Begin = Callable[[], None]


def at_once() -> None:
    """Nothing has to be done before the mail is handed over."""


def once(begin: Begin) -> Begin:
    """Calls `begin` once, however many connections are tried: before the last one, none got any content."""
    left = [begin]

    def begin_once() -> None:
        if left:
            left.pop()()

    return begin_once


class Transport(Protocol):
    """Hands mails over to one mail server or API."""

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """Hand over a mail before `deadline`, beginning before its latest start.

        `begin` is called as late as possible before the server gets any of the mail, and again if that takes another
        connection or server. What it raises is raised.

        `data` is encoded for this transport: an RFC 5322 message with CRLF line ends for SMTP, the request's JSON for
        SendGrid.

        Raises `NotSent` if no recipient was accepted, `OutcomeUnknown` if the connection was lost after the server may
        have received the whole mail, and `Deferred` if the mail has to wait and no server was contacted.
        """
        ...

    @property
    def most(self) -> int:
        """The most mails that it ever takes at a time."""
        ...

    def capacity(self, waiting: int) -> int:
        """The number of mails that it takes at a time, for now, if so many more wait that are not claimed."""
        ...

    def close(self) -> None:
        """Close all idle connections and start nothing new."""
        ...

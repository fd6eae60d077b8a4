"""What goes to a mail server and what comes back, independent of how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sender.document.dsn import Dsn
from shared.deadline import Deadline

#: The name of the transport that the settings without a name describe.
DEFAULT_TRANSPORT = "default"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends, and who receives (RFC 5321 section 2.3.1).

    Addresses are bare (`a@b.c`), domains are ASCII; only local parts may hold other characters. `dsn` says which
    notifications are wanted, `transport` is the name of the one that the mail was written for.
    """

    sender: str
    recipients: tuple[str, ...]
    dsn: Dsn | None = None
    transport: str = DEFAULT_TRANSPORT

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address can only be said to a server that offers SMTPUTF8 (RFC 6531)."""
        return not all(address.isascii() for address in (self.sender, *self.recipients))


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's answer to a mail that at least one recipient's mailbox was accepted for.

    2xx replies to RCPT are in `accepted`, 4xx in `pending`, 5xx in `rejected`, each in the envelope's order;
    `response` is the reply to the mail itself ("250 2.0.0 Ok: queued as 4F2"), `queue_id` what SendGrid calls the mail.
    `warnings` name what was asked for and the server can't do. `retry_after` is in how many seconds the server wants to
    be asked again for those in `pending`, if it says so.
    """

    accepted: tuple[str, ...]
    rejected: tuple[str, ...]
    pending: tuple[str, ...]
    response: str
    queue_id: str | None = None
    warnings: tuple[str, ...] = ()
    retry_after: float | None = None


class Transport(Protocol):
    """One way to hand a mail over."""

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        """Hand over `data`, which was written for this transport, before `deadline`.

        It is a whole RFC 5322 message with CRLF line ends for SMTP, and the request's JSON for SendGrid.

        Raises `NotSent` when no recipient was accepted, `OutcomeUnknown` when the connection was lost between the
        end of the data and the server's answer to it, `Deferred` when nothing was said to a server because it is not
        the time to.
        """
        ...

    def close(self) -> None:
        """Say goodbye on all kept-open connections."""
        ...

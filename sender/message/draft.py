"""A fully resolved mail, not yet encoded for a transport, and the interface of encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sender.document.addresses import Address
from sender.document.document import Entries, MailDocument, Message
from sender.message.attachments import Loader
from sender.transport.envelope import DEFAULT_TRANSPORT


@dataclass(frozen=True, slots=True)
class MailDraft:
    """The input of every encoder.

    `message` is the document's message with its template rendered; None if it has neither. `author` has at least one
    address. `message_id` includes the angle brackets. `recipients` are the bare addresses that the mail goes to, which
    may be fewer than the document's. MIME boundaries are derived from `boundary_seed`; `now` (aware) is the mail's
    date.
    """

    document: MailDocument
    message: Message | None
    author: tuple[Address, ...]
    reply_to: Entries
    message_id: str
    recipients: tuple[str, ...]
    boundary_seed: str
    now: datetime


@dataclass(frozen=True, slots=True)
class EncodedMail:
    """A mail encoded for the transport with the given name.

    `warnings` has a sentence for each field that could not be encoded.
    """

    data: bytes
    warnings: tuple[str, ...] = ()
    transport: str = DEFAULT_TRANSPORT


#: Encodes a mail for one kind of transport, and loads its files. Raises `NotSendable`.
Encoder = Callable[[MailDraft, Loader], EncodedMail]

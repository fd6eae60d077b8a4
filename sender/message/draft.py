"""A mail between the document and the transport: all decided, nothing written yet."""

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
    """What every transport's writer needs to know of a mail.

    `message` is what the document's own message or its template came to, None where it has neither. `author` has at
    least one address. `message_id` is with its angle brackets. `recipients` are the bare addresses that shall get the
    mail, which may be fewer than the document's. `stem` is what boundaries follow from, `now` (aware) the mail's date.
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
    """A mail as bytes that the transport of that name takes.

    `warnings` is a sentence about each thing that could not be put into it.
    """

    data: bytes
    warnings: tuple[str, ...] = ()
    transport: str = DEFAULT_TRANSPORT


#: Writes a mail for one kind of transport, loading its files. Raises `NotSendable`.
Encoder = Callable[[MailDraft, Loader], EncodedMail]

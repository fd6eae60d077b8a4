"""A fully resolved mail, not yet encoded for a transport, and the interface of encoders."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Callable, Iterable
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
    address. `recipients` are the bare addresses that the mail goes to, which may be fewer than the document's.
    Message-ID and MIME boundaries are derived from `seed`; `now` (aware) is the mail's date.
    """

    document: MailDocument
    message: Message | None
    author: tuple[Address, ...]
    reply_to: Entries
    recipients: tuple[str, ...]
    seed: str
    now: datetime

    def message_id(self, content: Iterable[bytes]) -> str:
        """The Message-ID with its angle brackets: the document's own, or else one that is derived.

        `content` is all that a receiver sees but the Message-ID and the date, in pieces, of which none is copied. Equal
        ids then mean equal content. The derived local part has 32 characters of 64 (RFC 5321 section 4.5.3.1.1).
        """
        if self.document.message_id:
            return f"<{self.document.message_id}>"
        digest = hashlib.sha256(f"{self.seed}\0".encode())
        for piece in content:
            digest.update(piece)
        local_part = b32encode(digest.digest()[:20]).decode().lower()
        return f"<{local_part}@{self.author[0].domain}>"


@dataclass(frozen=True, slots=True)
class EncodedMail:
    """A mail encoded for the transport with the given name.

    `message_id` includes the angle brackets. `warnings` has a sentence for each field that could not be encoded.
    """

    data: bytes
    message_id: str
    warnings: tuple[str, ...] = ()
    transport: str = DEFAULT_TRANSPORT


#: Encodes a mail for one kind of transport, and loads its files. Raises `NotSendable`.
Encoder = Callable[[MailDraft, Loader], EncodedMail]

"""From a mail document to what goes to the mail server: the envelope and the message's bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from sender.attachments import load_attachments
from sender.mime import headers, parts
from sender.transport.envelope import Envelope
from shared.addresses import Address, mailboxes
from shared.document import MailDocument, Message, parse_document
from shared.errors import ErrorCode, NotSendable


@dataclass(frozen=True, slots=True)
class Defaults:
    """What stands in when a document doesn't say: DEFAULT_FROM and DEFAULT_REPLY_TO."""

    sender: Address
    reply_to: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to be sent: `data` is the whole RFC 5322 message with CRLF line ends.

    `message_id` is with its angle brackets. `warnings` name the fields that were given and are not in the mail.
    """

    envelope: Envelope
    data: bytes
    message_id: str
    warnings: tuple[str, ...]


def compose(fields: Mapping[str, Any], defaults: Defaults, *, stem: str, now: datetime) -> Mail:
    """The mail that a decoded Firestore document describes.

    `stem` is the Message-ID's part before the @ when the document gives none (the part after it is the author's
    domain), and what the MIME boundaries follow from: with the same stem, the same document makes the same bytes but
    for the date. `now` (aware) is that date. Raises `NotSendable`.
    """
    document = parse_document(fields)
    message = _what_smtp_can_send(document)
    author = document.author or (defaults.sender,)
    message_id = f"<{document.message_id or f'{stem}@{author[0].domain}'}>"
    return Mail(
        envelope=Envelope(author[0].email, _recipients(document)),
        data=parts.message(_header_fields(document, message, author, defaults, message_id, now), _body(message, stem)),
        message_id=message_id,
        warnings=(*document.warnings, *_warnings(document)),
    )


def _what_smtp_can_send(document: MailDocument) -> Message:
    """The message, if nothing is asked for that needs templates, a users collection or SendGrid's own API."""
    if document.uids:
        field = next(iter(document.uids))
        raise NotSendable(
            ErrorCode.VALIDATION,
            f"Field '{field}': user ids can't be looked up, because no USERS_COLLECTION is configured.",
        )
    if document.template is not None:
        raise NotSendable(
            ErrorCode.TEMPLATE,
            "Field 'template': it can't be rendered, because no TEMPLATES_COLLECTION is configured.",
        )
    if document.message is None:
        raise NotSendable(
            ErrorCode.VALIDATION,
            "Field 'sendGrid': it can't be sent over SMTP without a 'message' map beside it.",
        )
    return document.message


def _recipients(document: MailDocument) -> tuple[str, ...]:
    """Each address once, in the order of to, cc and bcc."""
    everyone = mailboxes((*document.to, *document.cc, *document.bcc))
    return tuple(dict.fromkeys(address.email for address in everyone))


def _warnings(document: MailDocument) -> Iterable[str]:
    if document.categories:
        yield "Field 'categories' is not supported over SMTP and was not sent."
    if document.send_grid is not None:
        yield "Field 'sendGrid' is not supported over SMTP and was not sent."


def _header_fields(
    document: MailDocument,
    message: Message,
    author: tuple[Address, ...],
    defaults: Defaults,
    message_id: str,
    now: datetime,
) -> list[str]:
    """The message's own header fields. Bcc is not among them: it would be readable by all."""
    # Several authors need one named sender (RFC 5322 section 3.6.2).
    sender = document.sender or (author[:1] if len(author) > 1 else ())
    lists = {
        "From": author,
        "Sender": sender,
        "To": document.to,
        "Cc": document.cc,
        "Reply-To": document.reply_to or defaults.reply_to,
    }
    fields = [headers.address_list(name, entries) for name, entries in lists.items() if entries]
    if message.subject:
        fields.append(headers.unstructured("Subject", message.subject))
    fields.append(headers.raw("Message-ID", message_id))
    fields.append(headers.user_defined("Date", document.date or format_datetime(now)))
    return fields + [headers.user_defined(header.name, header.value) for header in document.headers]


def _body(message: Message, stem: str) -> parts.Entity:
    """The tree nodemailer builds: mixed(alternative(text, amp, related(html, images)), attachments)."""
    files = load_attachments(message.attachments)
    # Only a page can refer to a Content-ID.
    embedded = [parts.file(file) for file in files if message.html and file.content_id]
    attached = [parts.file(file) for file in files if not (message.html and file.content_id)]
    versions = []
    if message.text:
        versions.append(parts.text("plain", message.text))
    if message.amp:
        versions.append(parts.text("x-amp-html", message.amp))
    if message.html:
        page = [parts.text("html", message.html), *embedded]
        versions.append(parts.multipart("related", page, stem))
    return parts.multipart("mixed", [parts.multipart("alternative", versions, stem), *attached], stem)

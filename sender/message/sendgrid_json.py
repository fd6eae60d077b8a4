"""Encodes a mail as the JSON of SendGrid's `POST /v3/mail/send`.

The mapping is Trigger Email's (its `nodemailer-sendgrid`); SendGrid documents the format and its limits:
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sender.document.addresses import Address, mailboxes
from sender.document.document import MailDocument, Message
from sender.document.fields import Fields, describe, shown
from sender.message.attachments import Loader, Part
from sender.message.draft import EncodedMail, MailDraft
from sender.message.mime import headers
from sender.message.mime.parts import File
from shared.errors import ErrorCode, NotSendable
from shared.firestore.values import Reference

Json = dict[str, Any]

_OPTIONS = ("templateId", "dynamicTemplateData", "mailSettings", "customArgs", "ipPoolName")

#: SendGrid's limit for a mail with everything in it.
MAX_BYTES = 30 * 1024 * 1024

#: Headers that SendGrid writes itself and rejects in requests, except those that a document can't give anyway.
_RESERVED = frozenset(("x-sg-id", "x-sg-eid", "received", "dkim-signature"))


def encode_sendgrid_request(draft: MailDraft, loader: Loader) -> EncodedMail:
    """Encode the draft as a request body. Raises `NotSendable`, `NotLoaded`."""
    document, message = draft.document, draft.message
    fields = Fields(document.send_grid or {}, "sendGrid")
    options = _options(fields)
    fields.raise_faults()
    data = options.pop("dynamic_template_data", None)
    shared = {"dynamic_template_data": data} if data else {}
    envelopes = list(_personalizations(document, set(draft.recipients)))
    _reserve_repeated(shared, len(envelopes), loader)
    content = {
        "from": _mailbox(draft.author[0]),
        "reply_to_list": [_mailbox(address) for address in _unique(mailboxes(draft.reply_to), set())],
        "subject": message and message.subject,
        "content": _content(message),
        "categories": list(dict.fromkeys(document.categories)),
        **options,
    }
    if "template_id" not in options:
        _check_complete(content)
    attachments = [_attachment(file) for file in loader.attachments(message.attachments)] if message else []
    pieces = _pieces(content, attachments)
    given = _headers(document)
    shown = {"to": list(map(_mailbox, mailboxes(document.to))), "cc": list(map(_mailbox, mailboxes(document.cc)))}
    message_id = draft.message_id([_encoded({**shown, **shared, "headers": given}), *pieces])
    own = {
        "personalizations": [envelope | shared for envelope in envelopes],
        "headers": given | {"Message-ID": message_id},
    }
    return EncodedMail(b"".join([_encoded(own)[:-1], *pieces]), message_id, tuple(_warnings(draft)))


def _reserve_repeated(shared: Json, count: int, loader: Loader) -> None:
    """Reserve memory for the data that SendGrid takes once per envelope.

    Raises `NotSendable` if it makes the request too large.
    """
    if count <= 1 or not shared:
        return
    size = len(_encoded(shared)) * count
    if size > MAX_BYTES:
        found = f"data that is sent to {count:,} hidden recipients one by one, and makes a larger request"
        raise NotSendable.field("sendGrid.dynamicTemplateData", found, f"at most {MAX_BYTES // 1024**2} MB in all")
    loader.reserve(size)


def _pieces(fields: Json, attachments: Sequence[tuple[Json, bytes]]) -> list[bytes]:
    """The end of the body, after the recipients and the headers: `fields`, and the attachments.

    An attachment is given as its description and its content in base64. SendGrid rejects empty values, but accepts
    missing ones. The contents stay bytes, since `json` would copy them three times.
    """
    given = {name: value for name, value in fields.items() if value}
    pieces = [b", ", _encoded(given)[1:-1]]
    for index, (description, content) in enumerate(attachments):
        start = b"," if index else b', "attachments": ['
        pieces += [start, _encoded(description)[:-1], b', "content": "', content, b'"}']
    return [*pieces, b"]}" if attachments else b"}"]


def _encoded(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _options(fields: Fields) -> Json:
    """The fields of `sendGrid` under SendGrid's names."""
    data, settings = fields.map("dynamicTemplateData"), fields.map("mailSettings")
    options = {
        "template_id": fields.line("templateId"),
        "dynamic_template_data": data and _plain(data.values),
        "mail_settings": settings and _snake_case(_plain(settings.values)),
        "custom_args": _custom_args(fields.map("customArgs")),
        "ip_pool_name": fields.line("ipPoolName"),
    }
    return {name: value for name, value in options.items() if value}


def _custom_args(fields: Fields | None) -> dict[str, str]:
    """SendGrid accepts only strings; numbers and booleans are converted."""
    arguments = {}
    for name, value in (fields.values if fields else {}).items():
        if isinstance(value, str):
            arguments[name] = value
        elif isinstance(value, bool | int | float):
            arguments[name] = json.dumps(_plain(value))
        elif value is not None and fields:
            fields.fault(name, describe(value), "a string, a number or a boolean")
    return arguments


def _personalizations(document: MailDocument, addresses: set[str]) -> Iterator[Json]:
    """The recipients: each address once and at least one in `to`, as SendGrid requires.

    Without addresses in `to`, those in `cc` replace them. If all recipients are in `bcc`, each gets a separate mail.
    """
    seen: set[str] = set()
    to, cc, bcc = (
        [
            _mailbox(address)
            for address in _unique((address for address in mailboxes(entries) if address.email in addresses), seen)
        ]
        for entries in (document.to, document.cc, document.bcc)
    )
    if not to:
        to, cc = cc, []
    if to:
        yield {"to": to} | ({"cc": cc} if cc else {}) | ({"bcc": bcc} if bcc else {})
    else:
        yield from ({"to": [hidden]} for hidden in bcc)


def _unique(addresses: Iterable[Address], seen: set[str]) -> Iterator[Address]:
    """The addresses not in `seen`, to which they are added; SendGrid ignores case when it compares."""
    for address in addresses:
        if address.email.lower() not in seen:
            seen.add(address.email.lower())
            yield address


def _mailbox(address: Address) -> dict[str, str]:
    return {"email": address.email} | ({"name": address.name} if address.name else {})


def _content(message: Message | None) -> list[Json]:
    """The versions of the text, in the order that SendGrid requires."""
    if message is None:
        return []
    versions = {"text/plain": message.text, "text/html": message.html, "text/x-amp-html": message.amp}
    return [{"type": kind, "value": value} for kind, value in versions.items() if value]


def _check_complete(body: Json) -> None:
    """Raise `NotSendable` if the body lacks a field that only a SendGrid template can replace."""
    template = "or else 'sendGrid.templateId'"
    if not body["content"]:
        raise NotSendable.field("message", "nothing to send in it", f"a map with 'text' or 'html', {template}")
    if not body["subject"]:
        raise NotSendable.field(
            "message.subject", "an empty one", f"a subject, without which SendGrid sends nothing, {template}"
        )


def _attachment(file: File | Part) -> tuple[Json, bytes]:
    """The attachment's description, and its content in base64."""
    if isinstance(file, Part) or not file.content:
        found = "ready-made MIME" if isinstance(file, Part) else "an empty file"
        expected = "files with content, for SendGrid takes no others"
        raise NotSendable.field("message.attachments", found, expected, ErrorCode.ATTACHMENT)
    attachment = {
        "type": file.media_type.partition(";")[0].strip(),
        "filename": file.filename or "attachment",
    }
    if file.content_id is None:
        attachment["disposition"] = file.disposition or "attachment"
    else:
        attachment |= {"disposition": "inline", "content_id": file.content_id}
    return attachment, base64.b64encode(file.content)


def _headers(document: MailDocument) -> dict[str, str]:
    """The application's headers; of a repeated one, the last value."""
    given = {header.key: header for header in document.headers if header.key not in _RESERVED}
    fields = [headers.user_defined(header.name, header.value) for header in given.values()]
    if document.sender:
        fields.append(headers.address_list("Sender", document.sender))
    if document.date:
        fields.append(headers.user_defined("Date", document.date))
    return dict(map(_unfolded, fields))


def _unfolded(field: str) -> tuple[str, str]:
    """A header field's name, and its value (already ASCII, RFC 2047) on one line."""
    name, _, value = field.partition(":")
    return name, value.replace("\r\n", "").strip()


def _warnings(draft: MailDraft) -> Iterator[str]:
    document, message = draft.document, draft.message
    for name, value in (document.send_grid or {}).items():
        if name not in _OPTIONS and value is not None:
            yield f"Field 'sendGrid.{shown(name)}' is not supported and was not sent."
    if len(draft.author) > 1:
        yield "Field 'from': SendGrid takes one address; only the first was sent."
    keys = Counter(header.key for header in document.headers)
    for header in {header.key: header for header in document.headers}.values():
        if header.key in _RESERVED:
            yield f"Field '{header.path}' is written by SendGrid itself and was not sent."
        elif keys[header.key] > 1:
            yield f"Field '{header.path}': SendGrid takes each header once; only the last value was sent."
    given = {
        "message.alternatives": message and message.alternatives,
        "message.icalEvent": message and message.event,
        "message.dsn": document.dsn,
    }
    yield from (
        f"Field '{field}' is not supported by SendGrid and was not sent."
        for field, is_given in given.items()
        if is_given
    )
    if message and any(attachment.headers for attachment in message.attachments):
        yield "Field 'message.attachments': SendGrid takes no headers of attachments; they were not sent."


def _snake_case(value: Any) -> Any:
    """Convert the names in `mailSettings` as SendGrid's libraries do: `sandboxMode` becomes `sandbox_mode`."""
    if isinstance(value, list):
        return [_snake_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(): _snake_case(item) for name, item in value.items()}


def _plain(value: Any) -> Any:
    """A Firestore value as JSON: times like `Date.toISOString`, bytes as base64, NaN and infinities as null."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case bytes():
            return base64.b64encode(value).decode()
        case Reference():
            return value.name
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value

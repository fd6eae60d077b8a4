"""Composes a mail: from the document to the envelope and the encoded message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Protocol

from sender.document.addresses import Address, mailboxes
from sender.document.document import MailDocument, Message, parse_document
from sender.document.fields import describe
from sender.downloads.source import Fetch, fetch_nothing
from sender.memory import need
from sender.memory.budget import Room, Unlimited
from sender.message.attachments import Loader, Part
from sender.message.draft import EncodedMail, Encoder, MailDraft
from sender.message.guard import Guard, guarded
from sender.message.html_process import HtmlPostprocess, unchanged
from sender.message.mime import headers, parts
from sender.message.recipients import Users, with_users
from sender.message.templates import Templates, render
from sender.transport.envelope import Envelope
from shared.deadline import NEVER, Deadline
from shared.delivery.lanes import DEFAULT_LANE, LANE, NO_LANES, Lanes
from shared.errors import ErrorCode, NotSendable, NotSent


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for documents without `from` or `replyTo`: DEFAULT_FROM and DEFAULT_REPLY_TO, also per named transport."""

    sender: Address
    reply_to: tuple[Address, ...] = ()
    named: Mapping[str, Defaults] = field(default_factory=dict)

    def of(self, transport: object) -> Defaults:
        """The defaults of the named transport that the document requests, if it exists; otherwise the common ones."""
        return self.named.get(transport, self) if isinstance(transport, str) else self


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready for sending; `data` is encoded for its transport.

    `message_id` includes the angle brackets. `warnings` name given fields that are not in the mail, `missing_uids` are
    the users without an address. `message` is the content after rendering and post-processing. `settled` are the
    recipients that the envelope leaves out, because an earlier attempt has settled them; `withheld` are those that the
    guard leaves out.
    """

    envelope: Envelope
    data: bytes
    message_id: str
    warnings: tuple[str, ...]
    message: Message | None = None
    missing_uids: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


class Compose(Protocol):
    """Composes a mail by an installation's configuration; implemented by `Composer`."""

    def __call__(
        self,
        fields: Mapping[str, Any],
        *,
        seed: str,
        now: datetime,
        deadline: Deadline,
        fetch: Fetch,
        settled: frozenset[str],
        room: Room,
    ) -> Mail:
        """See `Composer`."""
        ...


def encode_mime(draft: MailDraft, loader: Loader) -> EncodedMail:
    """Encode the draft as an RFC 5322 message with CRLF line ends, for SMTP. Raises `NotSendable`, `NotLoaded`."""
    message = draft.message
    if message is None:
        text = "Field 'sendGrid': it can't be sent over SMTP without a 'message' map beside it; TRANSPORT=sendgrid can."
        raise NotSendable(ErrorCode.VALIDATION, text)
    body = _body(message, draft.seed, loader)
    named, others = _named_fields(draft, message), _other_fields(draft.document)
    message_id = draft.message_id(parts.pieces([*named, *others], body))
    own = [headers.raw("Message-ID", message_id)]
    if not draft.document.date:
        own.append(headers.raw("Date", format_datetime(draft.now)))
    data = parts.message([*named, *own, *others], body)
    return EncodedMail(data, message_id, (*_warnings(draft.document), *loader.warnings))


@dataclass(frozen=True, slots=True)
class Composer:
    """Composes mails by an installation's configuration.

    `users` resolves user ids, `templates` provides templates; None if not configured. `postprocess` changes a rendered
    message; `encode` encodes it for the transport. `guard` says who may get mail; None: anybody. `lanes` are those that
    documents may name; `tenant_field` is the field that says whose mail it is.
    """

    defaults: Defaults
    encode: Encoder = encode_mime
    users: Users | None = None
    templates: Templates | None = None
    postprocess: HtmlPostprocess = unchanged
    guard: Guard | None = None
    lanes: Lanes = NO_LANES
    tenant_field: str | None = None

    def __call__(
        self,
        fields: Mapping[str, Any],
        *,
        seed: str,
        now: datetime,
        deadline: Deadline = NEVER,
        fetch: Fetch = fetch_nothing,
        settled: frozenset[str] = frozenset(),
        room: Room | None = None,
    ) -> Mail:
        """Compose and encode the mail that a decoded Firestore document describes.

        The Message-ID, unless the document gives one, and the MIME boundaries are derived from `seed` and the content:
        mails with the same derived id are the same in every byte, except for the date. `now` (aware) is the date.
        `settled` are addresses to leave out of the envelope because earlier attempts have settled them; the envelope
        may be left without recipients. `room` is the memory in which the mail is composed and then held; None if there
        is no limit. Raises `NotSendable`, `NotSent` if `deadline` passes, `Unavailable` if a look-up fails, and
        `Deferred` if there is no room.
        """
        room = room or Unlimited()
        needed = need.of_document(fields)
        room.take(needed)
        document, missing_uids = with_users(parse_document(fields), self.users)
        document = _rendered(
            document, self.templates, deadline, lambda characters: room.take(needed + need.of_rendering(characters))
        )
        _check_time(deadline)
        if document.message:
            needed += _of_message(document.message)
            room.take(needed)
            message, warnings = self.postprocess(document.message, deadline)
            document = replace(document, message=message, warnings=(*document.warnings, *warnings))
            _check_time(deadline)
        defaults = self.defaults.of(document.transport)
        author = document.author or (defaults.sender,)
        everyone = _recipients(document)
        document, withheld = guarded(document, self.guard)
        addressed = _recipients(document)
        draft = MailDraft(
            document=document,
            message=document.message,
            author=author,
            reply_to=document.reply_to or defaults.reply_to,
            recipients=tuple(address for address in addressed if address not in settled),
            seed=seed,
            now=now,
        )
        encoded = self.encode(draft, Loader(fetch, room, needed))
        _check_time(deadline)
        room.take(need.size_of(fields) + len(encoded.data))
        return Mail(
            envelope=Envelope(
                author[0].email, draft.recipients, document.dsn, encoded.transport, _tenant(fields, self.tenant_field)
            ),
            data=encoded.data,
            message_id=encoded.message_id,
            warnings=(*document.warnings, *_unknown_lane(fields.get(LANE), self.lanes), *encoded.warnings),
            message=draft.message,
            missing_uids=missing_uids,
            settled=tuple(address for address in dict.fromkeys((*everyone, *addressed)) if address in settled),
            withheld=tuple(address for address in withheld if address not in settled),
        )


def _check_time(deadline: Deadline) -> None:
    """Called between the steps, each of which takes a limited time. Raises `NotSent`."""
    if deadline.remaining() <= 0:
        raise NotSent(ErrorCode.TEMPORARY, "The attempt's time was up before the mail was composed.")


def _of_message(message: Message) -> int:
    """The bytes to reserve for the message's texts."""
    files = (*message.attachments, *message.alternatives, *([message.event.file] if message.event else []))
    contents = [content for file in files for content in (file.content, file.raw, file.url)]
    return need.of_texts([message.subject, message.text, message.html, message.amp, *contents])


def _rendered(
    document: MailDocument, templates: Templates | None, deadline: Deadline, announce: Callable[[int], None]
) -> MailDocument:
    if document.template is None:
        return document
    if templates is None:
        text = "Field 'template': it can't be rendered, because no TEMPLATES_COLLECTION is configured."
        raise NotSendable(ErrorCode.TEMPLATE, text)
    return render(document, templates, deadline, announce)


def _recipients(document: MailDocument) -> tuple[str, ...]:
    """The distinct addresses, in the order of to, cc and bcc."""
    everyone = mailboxes((*document.to, *document.cc, *document.bcc))
    return tuple(dict.fromkeys(address.email for address in everyone))


def _tenant(fields: Mapping[str, Any], name: str | None) -> str:
    """Whose mail it is; "" if the document does not say so, in a field that is text or a whole number."""
    tenant = fields.get(name) if name else None
    return str(tenant) if isinstance(tenant, str | int) else ""


def _unknown_lane(lane: object, lanes: Lanes) -> Iterator[str]:
    if lane is not None and not (isinstance(lane, str) and lanes.has(lane)):
        expected = ", ".join((*lanes.rules, DEFAULT_LANE))
        found = "another string" if isinstance(lane, str) and lane else describe(lane)
        yield f"Field 'lane': expected one of {expected}; found {found}. The mail is in the lane '{DEFAULT_LANE}'."


def _warnings(document: MailDocument) -> Iterable[str]:
    if document.categories:
        yield "Field 'categories' is not supported over SMTP and was not sent."
    if document.send_grid is not None:
        yield "Field 'sendGrid' is not supported over SMTP and was not sent."


def _named_fields(draft: MailDraft, message: Message) -> list[str]:
    """The addresses and the subject, without Bcc, which all recipients could read."""
    document, author = draft.document, draft.author
    # RFC 5322 section 3.6.2 requires a Sender if there are several authors.
    sender = document.sender or (author[:1] if len(author) > 1 else ())
    lists = {
        "From": author,
        "Sender": sender,
        "To": document.to,
        "Cc": document.cc,
        "Reply-To": draft.reply_to,
    }
    fields = [headers.address_list(name, entries) for name, entries in lists.items() if entries]
    if message.subject:
        fields.append(headers.unstructured("Subject", message.subject))
    return fields


def _other_fields(document: MailDocument) -> list[str]:
    """The date, if the document gives one, and its other headers: none with a name that `_named_fields` uses."""
    date = [headers.user_defined("Date", document.date)] if document.date else []
    return date + [headers.user_defined(header.name, header.value) for header in document.headers]


def _body(message: Message, seed: str, loader: Loader) -> parts.Entity:
    """The same tree as nodemailer's: mixed(alternative(text, amp, related(html, images), …), attachments)."""
    embedded: list[parts.Entity] = []
    attached: list[parts.Entity] = []
    for file in loader.attachments(message.attachments):
        # Only an HTML page can refer to a Content-ID.
        (embedded if message.html and file.content_id else attached).append(_entity(file))
    versions = []
    if message.text:
        versions.append(parts.text("plain", message.text))
    if message.amp:
        versions.append(parts.text("x-amp-html", message.amp))
    if message.html:
        page = [parts.text("html", message.html), *embedded]
        versions.append(parts.multipart("related", page, seed))
    if message.event:
        version, event_file = loader.event(message.event)
        versions.append(parts.version(version))
        attached.append(parts.file(event_file))
    versions += [_entity(alternative, parts.version) for alternative in loader.alternatives(message.alternatives)]
    return parts.multipart("mixed", [parts.multipart("alternative", versions, seed), *attached], seed)


def _entity(file: parts.File | Part, write: Callable[[parts.File], parts.Entity] = parts.file) -> parts.Entity:
    return file.entity if isinstance(file, Part) else write(file)

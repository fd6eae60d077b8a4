"""From a mail document to what goes to the mail server: the envelope and the message's bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Protocol

from sender.document.addresses import Address, mailboxes
from sender.document.document import MailDocument, Message, parse_document
from sender.downloads.source import Fetch, fetch_nothing
from sender.message.attachments import Loader, Part
from sender.message.draft import EncodedMail, Encoder, MailDraft
from sender.message.html_postprocess import HtmlPostprocess, unchanged
from sender.message.mime import headers, parts
from sender.message.recipients import Users, with_users
from sender.message.templates import Templates, render
from sender.transport.envelope import Envelope
from shared.deadline import NEVER, Deadline
from shared.errors import ErrorCode, NotSendable


@dataclass(frozen=True, slots=True)
class Defaults:
    """What stands in when a document doesn't say: DEFAULT_FROM and DEFAULT_REPLY_TO, of each named transport too."""

    sender: Address
    reply_to: tuple[Address, ...] = ()
    named: Mapping[str, Defaults] = field(default_factory=dict)

    def of(self, transport: object) -> Defaults:
        """Those of the transport that the document asks for, if there is one of that name."""
        return self.named.get(transport, self) if isinstance(transport, str) else self


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to be sent: `data` is what the transport takes that it was written for.

    `message_id` is with its angle brackets. `warnings` name the fields that were given and are not in the mail,
    `missing_uids` the users who have no address. `message` is what was written, rendered if it has a template.
    """

    envelope: Envelope
    data: bytes
    message_id: str
    warnings: tuple[str, ...]
    message: Message | None = None
    missing_uids: tuple[str, ...] = ()


class Compose(Protocol):
    """Composes a mail as an installation has decided; a `Composer` is one."""

    def __call__(
        self,
        fields: Mapping[str, Any],
        *,
        message_id_local_part: str,
        now: datetime,
        deadline: Deadline,
        fetch: Fetch,
        recipients: tuple[str, ...],
    ) -> Mail:
        """See `Composer`."""
        ...


def encode_mime(draft: MailDraft, loader: Loader) -> EncodedMail:
    """The draft as a whole RFC 5322 message with CRLF line ends, which is what SMTP takes."""
    message = draft.message
    if message is None:
        text = "Field 'sendGrid': it can't be sent over SMTP without a 'message' map beside it; TRANSPORT=sendgrid can."
        raise NotSendable(ErrorCode.VALIDATION, text)
    body = _body(message, draft.boundary_seed, loader)
    return EncodedMail(parts.message(_header_fields(draft, message), body), tuple(_warnings(draft.document)))


@dataclass(frozen=True, slots=True)
class Composer:
    """What an installation decides about every mail; calling it composes one.

    `users` is where user ids are looked up, `templates` where templates are. `postprocess` changes a message once it is
    rendered; `write` makes of it what the transport takes.
    """

    defaults: Defaults
    encode: Encoder = encode_mime
    users: Users | None = None
    templates: Templates | None = None
    postprocess: HtmlPostprocess = unchanged

    def __call__(
        self,
        fields: Mapping[str, Any],
        *,
        message_id_local_part: str,
        now: datetime,
        deadline: Deadline = NEVER,
        fetch: Fetch = fetch_nothing,
        recipients: tuple[str, ...] = (),
    ) -> Mail:
        """The mail that a decoded Firestore document describes, written for a transport.

        `stem` is the Message-ID's part before the @ when the document gives none (the part after it is the author's
        domain), and what the MIME boundaries follow from: with the same stem, the same document makes the same bytes
        but for the date and for files that `fetch` brings. `now` (aware) is that date. `only` are the recipients that
        are left where earlier attempts have settled the others. Raises `NotSendable`, `NotSent` when `deadline` passes
        meanwhile, and `Unavailable` when a look-up fails.
        """
        document, missing_uids = with_users(parse_document(fields), self.users)
        document = _rendered(document, self.templates, deadline)
        if document.message:
            message, warnings = self.postprocess(document.message)
            document = replace(document, message=message, warnings=(*document.warnings, *warnings))
        defaults = self.defaults.of(document.transport)
        author = document.author or (defaults.sender,)
        draft = MailDraft(
            document=document,
            message=document.message,
            author=author,
            reply_to=document.reply_to or defaults.reply_to,
            message_id=f"<{document.message_id or f'{message_id_local_part}@{author[0].domain}'}>",
            recipients=recipients or _recipients(document),
            boundary_seed=message_id_local_part,
            now=now,
        )
        encoded = self.encode(draft, Loader(fetch))
        return Mail(
            envelope=Envelope(author[0].email, draft.recipients, document.dsn, encoded.transport),
            data=encoded.data,
            message_id=draft.message_id,
            warnings=(*document.warnings, *encoded.warnings),
            message=draft.message,
            missing_uids=missing_uids,
        )


def _rendered(document: MailDocument, templates: Templates | None, deadline: Deadline) -> MailDocument:
    if document.template is None:
        return document
    if templates is None:
        text = "Field 'template': it can't be rendered, because no TEMPLATES_COLLECTION is configured."
        raise NotSendable(ErrorCode.TEMPLATE, text)
    return render(document, templates, deadline)


def _recipients(document: MailDocument) -> tuple[str, ...]:
    """Each address once, in the order of to, cc and bcc."""
    everyone = mailboxes((*document.to, *document.cc, *document.bcc))
    return tuple(dict.fromkeys(address.email for address in everyone))


def _warnings(document: MailDocument) -> Iterable[str]:
    if document.categories:
        yield "Field 'categories' is not supported over SMTP and was not sent."
    if document.send_grid is not None:
        yield "Field 'sendGrid' is not supported over SMTP and was not sent."


def _header_fields(draft: MailDraft, message: Message) -> list[str]:
    """The message's own header fields. Bcc is not among them: it would be readable by all."""
    document, author = draft.document, draft.author
    # Several authors need one named sender (RFC 5322 section 3.6.2).
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
    fields.append(headers.raw("Message-ID", draft.message_id))
    fields.append(headers.user_defined("Date", document.date or format_datetime(draft.now)))
    return fields + [headers.user_defined(header.name, header.value) for header in document.headers]


def _body(message: Message, boundary_seed: str, loader: Loader) -> parts.Entity:
    """The tree nodemailer builds: mixed(alternative(text, amp, related(html, images), …), attachments)."""
    files = loader.attachments(message.attachments)
    # Only a page can refer to a Content-ID.
    embedded = [_entity(file) for file in files if message.html and file.content_id]
    attached = [_entity(file) for file in files if not (message.html and file.content_id)]
    versions = []
    if message.text:
        versions.append(parts.text("plain", message.text))
    if message.amp:
        versions.append(parts.text("x-amp-html", message.amp))
    if message.html:
        page = [parts.text("html", message.html), *embedded]
        versions.append(parts.multipart("related", page, boundary_seed))
    if message.event:
        version, event_file = loader.event(message.event)
        versions.append(parts.version(version))
        attached.append(parts.file(event_file))
    versions += [_entity(alternative, parts.version) for alternative in loader.alternatives(message.alternatives)]
    return parts.multipart("mixed", [parts.multipart("alternative", versions, boundary_seed), *attached], boundary_seed)


def _entity(file: parts.File | Part, write: Callable[[parts.File], parts.Entity] = parts.file) -> parts.Entity:
    return file.entity if isinstance(file, Part) else write(file)

"""Validates a mail document: turns the decoded Firestore map into typed values.

The rules are those of Trigger Email 0.2.8 (its `validation.ts`, and nodemailer below it), with deliberate differences:
null counts as absent; `message: {}` is rejected (Trigger Email sends an empty mail); addresses and headers are checked
here instead of by the mail server; and all faults are reported together, each with the field's path, the expected and
the actual kind of value, but never its content. Unknown fields belong to the application and are ignored, but one
that looks like a misspelt field of ours causes a warning.

This module performs no look-ups, downloads or rendering: those need more than the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sender.document import spelling
from sender.document.addresses import Address, BadAddress, Group, mailboxes, parse_addresses
from sender.document.attachments import Attachment, read_attachment
from sender.document.custom_headers import Header, read_headers
from sender.document.dsn import Dsn, read_dsn
from sender.document.fields import Fields, describe, shown
from sender.document.invisible import stripped
from sender.document.named_headers import message_headers, read_date, unsubscribe_headers
from shared.delivery.model import DECIDING_TIMES
from shared.delivery.times import EXPECTED, point_in_time

Entries = tuple[Address | Group, ...]

#: Fields of `message` that nodemailer supports and Firepost does not.
UNSUPPORTED = (
    "attachDataUrls",
    "bcc",
    "cc",
    "encoding",
    "envelope",
    "from",
    "raw",
    "replyTo",
    "sender",
    "textEncoding",
    "to",
    "watchHtml",
)
#: Most mail servers allow fewer recipients per mail, and an application's rules should, too.
MAX_RECIPIENTS = 1_000
#: User ids are looked up in one request, and each one costs a billed document read.
MAX_UIDS = 500
MAX_SUBJECT = 10_000
#: The number of maps (most are attachments) whose names are compared with ours.
_MAX_SPELLCHECKED = 50

# Headers that could contradict the recipients or the structure of the mail.
_RESERVED = frozenset(
    (
        "from",
        "to",
        "cc",
        "bcc",
        "resent-bcc",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
    )
)
# Headers that Firepost writes from a field or by default, and that must occur only once (RFC 5322 section 3.6).
_SINGLE = frozenset(("subject", "message-id", "date", "reply-to", "sender"))
_AN_ADDRESS = "an address such as 'name@example.com' or 'Name <name@example.com>'"
# Looser than RFC 5322 section 3.6.4, for existing applications; but an @ has something on both sides.
_MESSAGE_ID = re.compile(r"<?((?!@)[!-;=?-~]{1,800}(?<!@))>?")
_METHOD = re.compile(r"[A-Za-z][A-Za-z-]{0,40}")  # RFC 5546 section 1.4, and future methods


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A calendar event such as an invitation (RFC 6047). `method` is in capitals; None if only the file names it."""

    method: str | None
    file: Attachment


@dataclass(frozen=True, slots=True)
class Message:
    """The content of a mail, from the document's `message` or from a rendered template."""

    subject: str | None
    text: str | None
    html: str | None
    amp: str | None
    attachments: tuple[Attachment, ...]
    alternatives: tuple[Attachment, ...] = ()
    event: CalendarEvent | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """The name of the template to render, and its data."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MailDocument:
    """A valid document; None or empty means not given.

    `uids` is keyed by field (`toUids` …). `author` is for the From header, `sender` for Sender. `message_id` has no
    angle brackets; `date` is in RFC 5322 format. `headers` excludes headers that another field here represents.
    `warnings` names the given fields that are not sent. `transport` is the document's value, unchecked: it is only
    used if TRANSPORTS is set.
    """

    to: Entries
    cc: Entries
    bcc: Entries
    uids: Mapping[str, tuple[str, ...]]
    author: tuple[Address, ...]
    sender: tuple[Address, ...]
    reply_to: Entries
    message_id: str | None
    date: str | None
    headers: tuple[Header, ...]
    dsn: Dsn | None
    message: Message | None
    template: Template | None
    send_grid: Mapping[str, Any] | None
    categories: tuple[str, ...]
    transport: object
    warnings: tuple[str, ...]


def parse_document(fields: Mapping[str, Any]) -> MailDocument:
    """Validate a decoded document (values of type str, int, float, bool, None, bytes, datetime, list, dict).

    Raises `NotSendable` with all faults in one text, in the order of their detection.
    """
    return _Parser(Fields(fields)).document()


def read_attachments(fields: Fields) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """Read the `attachments` of any map (such as a template) by the rules for `message`; returns warnings as well.

    Faults are recorded in `fields`.
    """
    parser = _Parser(fields)
    attachments = tuple(parser.files(fields, "attachments"))
    return attachments, (*parser.hints, *parser.warnings)


class _Parser:
    """Parses one document; holds the state that its fields share."""

    def __init__(self, top: Fields) -> None:
        self.top = top
        self.message_fields: Fields | None = None  # the `message` map
        self.warnings: list[str] = []
        self.hints: list[str] = []  # warnings about fields that are probably misspelt
        self.spellchecked = 0
        self.single: dict[str, Header] = {}  # headers in _SINGLE, by lower-case name

    def document(self) -> MailDocument:
        top = self.top
        self.check_spelling(top, spelling.DOCUMENT)
        to, cc, bcc = (self.recipients(field) for field in ("to", "cc", "bcc"))
        uids = {field: uids for field in ("toUids", "ccUids", "bccUids") if (uids := self.uids(field))}
        if not (top.faulty or uids or any(mailboxes((*to, *cc, *bcc)))):
            top.fault("to", "none", "at least one recipient in 'to', 'cc', 'bcc', 'toUids', 'ccUids' or 'bccUids'")
        self.count(to, cc, bcc, uids)
        self.times()
        self.message_fields = top.map("message")
        headers = self.headers()
        document = MailDocument(
            to=to,
            cc=cc,
            bcc=bcc,
            uids=uids,
            author=tuple(mailboxes(self.addresses("from", top.text("from"), joins_names=True))),
            sender=tuple(mailboxes(self.header_addresses("sender"))),
            reply_to=self.reply_to(),
            message_id=self.message_id(),
            date=self.date(),
            headers=headers,
            dsn=read_dsn(self.message_fields) if self.message_fields else None,
            message=self.message(),
            template=self.template(),
            send_grid=self.send_grid(),
            categories=tuple(text for _, text in top.texts("categories")),
            transport=top.values.get("transport"),
            warnings=(*self.hints, *self.warnings),
        )
        top.raise_faults(self.hints)
        return document

    def count(self, to: Entries, cc: Entries, bcc: Entries, uids: Mapping[str, tuple[str, ...]]) -> None:
        """Reject too many recipients or user ids."""
        recipients, ids = sum(1 for _ in mailboxes((*to, *cc, *bcc))), sum(map(len, uids.values()))
        if recipients > MAX_RECIPIENTS:
            self.top.fault(
                "to", f"{recipients:,} of them", f"at most {MAX_RECIPIENTS:,} recipients in 'to', 'cc' and 'bcc'"
            )
        if ids > MAX_UIDS:
            self.top.fault(next(iter(uids)), f"{ids:,} of them", f"at most {MAX_UIDS:,} user ids in one mail")

    def times(self) -> None:
        """Reject an unreadable time: ignoring it would send the mail too early or too late, irrevocably."""
        for name in DECIDING_TIMES:
            given = self.top.values.get(name)
            if given is not None and point_in_time(given) is None:
                found = "another text" if isinstance(given, str) and given else describe(given)
                self.top.fault(name, found, EXPECTED)

    def recipients(self, field: str) -> Entries:
        texts = self.top.texts(field, or_one=True)
        return tuple(entry for name, text in texts for entry in self.addresses(name, text))

    def uids(self, field: str) -> tuple[str, ...]:
        texts = self.top.texts(field)
        for name, text in texts:
            if not stripped(text):
                self.top.fault(name, "an empty string", "a user id")
        return tuple(uid for name, text in texts if (uid := self.top.visible(name, text)))

    def addresses(self, name: str, text: str | None, *, joins_names: bool = False) -> Entries:
        try:
            return parse_addresses(text or "", joins_names=joins_names)
        except BadAddress as error:
            self.top.fault(name, str(error), _AN_ADDRESS)
            return ()

    def headers(self) -> tuple[Header, ...]:
        """The headers to send, each name from the first place that gives it; those in _SINGLE go to `single`."""
        places = [unsubscribe_headers(self.top), self.unreserved(self.top)]
        if self.message_fields:
            places[1:1] = [message_headers(self.message_fields, self.not_sent)]
            places.append(self.unreserved(self.message_fields))
        kept: list[Header] = []
        for headers in places:
            earlier = {header.key: header.path for header in kept}
            for header in headers:
                if header.key in earlier:
                    self.not_sent(header.path, f"says the same as '{earlier[header.key]}'")
                elif header.key in _SINGLE and self.single.setdefault(header.key, header) is not header:
                    self.top.fault(header.path, "a second one", f"'{header.name}' once")
                else:
                    kept.append(header)
        return tuple(header for header in kept if header.key not in _SINGLE)

    def unreserved(self, parent: Fields) -> list[Header]:
        headers = read_headers(parent)
        for header in headers:
            if header.key in _RESERVED:
                self.not_sent(header.path, "would contradict what Firepost writes")
        return [header for header in headers if header.key not in _RESERVED]

    def single_header(self, key: str, field: str, given: object) -> Header | None:
        """The header that is equivalent to a field, unless the field is given: the field wins, as in nodemailer."""
        header = self.single.get(key)
        if header and given:
            self.not_sent(header.path, f"says the same as '{field}'")
            return None
        return header

    def header_addresses(self, key: str) -> Entries:
        header = self.single.get(key)
        return self.addresses(header.path, header.value) if header else ()

    def reply_to(self) -> Entries:
        given = self.addresses("replyTo", self.top.text("replyTo"), joins_names=True)
        return self.header_addresses("reply-to") if self.single_header("reply-to", "replyTo", given) else given

    def date(self) -> str | None:
        given = read_date(self.message_fields) if self.message_fields else None
        header = self.single_header("date", "message.date", given)
        return header.value if header else given

    def message_id(self) -> str | None:
        fields, name = self.message_fields or self.top, "messageId"
        text = self.message_fields.identifier(name) if self.message_fields else None
        header = self.single_header("message-id", "message.messageId", text)
        if header:
            fields, name, text = self.top, header.path, self.top.visible(header.path, header.value)
        if not text:
            return None
        found = _MESSAGE_ID.fullmatch(text.strip(" "))
        if not found:
            fields.fault(name, "something else", "a message id such as '<unique@example.com>', in ASCII")
        return found[1] if found else None

    def message(self) -> Message | None:
        fields, given = self.message_fields, self.top.values
        if fields is None or not fields.values:
            if given.get("message") in (None, {}) and given.get("template") is None and given.get("sendGrid") is None:
                found = describe(given.get("message"))
                self.top.fault("message", found, "a map with 'subject' and 'text' or 'html', or else a 'template'")
            if header := self.single.get("subject"):  # the template may have none
                return Message(subject=header.value, text=None, html=None, amp=None, attachments=())
            return None
        self.check_spelling(fields, spelling.MESSAGE)
        subject = fields.line("subject")
        header = self.single_header("subject", "message.subject", subject)
        if len(subject or "") > MAX_SUBJECT:
            fields.fault("subject", "a longer one", f"a subject of at most {MAX_SUBJECT:,} characters")
        message = Message(
            subject=header.value if header else subject,
            text=fields.text("text"),
            html=fields.text("html"),
            amp=fields.text("amp"),
            attachments=tuple(self.files(fields, "attachments")),
            alternatives=tuple(self.files(fields, "alternatives")),
            event=self.event(fields),
        )
        if given.get("template") is None:
            self.check_complete(fields)
        for name in UNSUPPORTED:
            if fields.values.get(name) is not None:
                self.not_sent(fields.path(name), "is not supported")
        return message

    def check_complete(self, fields: Fields) -> None:
        if fields.values.get("subject") is None:
            fields.fault("subject", "nothing", "a string")
        if not fields.values.get("text") and not fields.values.get("html"):
            fields.fault("text", describe(fields.values.get("text")), "a non-empty 'text' or 'html'")

    def files(self, fields: Fields, field: str) -> Iterator[Attachment]:
        for entry in fields.maps(field):
            self.check_spelling(entry, spelling.ATTACHMENT)
            if file := read_attachment(entry, self.unreserved):
                yield file

    def event(self, fields: Fields) -> CalendarEvent | None:
        """`icalEvent`: the calendar object itself, or a map like that of an attachment."""
        entry = fields.map_around("icalEvent", "content")
        if entry is None or not entry.values:
            return None
        self.check_spelling(entry, spelling.CALENDAR_EVENT)
        file = read_attachment(entry, self.unreserved)
        if file is None:
            entry.fault("content", "nothing", "a string or bytes")
            return None
        method = (entry.identifier("method") or "").strip(" ")
        if method and not _METHOD.fullmatch(method):
            entry.fault("method", "another string", "a word such as 'REQUEST'")
        return CalendarEvent(method.upper() or None, file)

    def template(self) -> Template | None:
        fields = self.top.map("template")
        if fields is None:
            return None
        self.check_spelling(fields, spelling.TEMPLATE)
        name, data = fields.visible("name", fields.filled("name")), fields.map("data")
        return Template(name or "", data.values if data else {})

    def send_grid(self) -> Mapping[str, Any] | None:
        fields = self.top.map("sendGrid")
        if fields is None:
            return None
        data = fields.map("dynamicTemplateData")
        for name in ("mailSettings", "customArgs"):
            fields.map(name)
        for name in ("templateId", "ipPoolName"):
            fields.text(name)
        if data is not None and fields.values.get("templateId") in (None, ""):
            fields.fault("templateId", "nothing", "a template id, because 'dynamicTemplateData' is given")
        return fields.values

    def check_spelling(self, fields: Fields, known: tuple[str, ...]) -> None:
        self.spellchecked += 1
        if self.spellchecked <= _MAX_SPELLCHECKED:
            for name, meant in spelling.misspelt(fields.values, known):
                self.hints.append(f"Field '{fields.path(shown(name))}' is not known: did you mean '{meant}'?")

    def not_sent(self, path: str, reason: str) -> None:
        self.warnings.append(f"Field '{path}' {reason} and was not sent.")

"""The mail document: from the decoded Firestore map to typed, checked values.

The rules are those of Trigger Email 0.2.8 (its `validation.ts`, and nodemailer below it), with these differences, all
on purpose: null is as good as absent; a `message: {}` is refused (there, an empty mail was sent); addresses and headers
are checked here and not left to the mail server; and all faults are reported together, each with the field's path,
what was expected and what kind of thing was found, never its content. Fields this module doesn't know belong to the
application.

Nothing is looked up, loaded or rendered here: that needs more than the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sender.document.addresses import Address, BadAddress, Group, mailboxes, parse_addresses
from sender.document.attachments import Attachment, read_attachment
from sender.document.custom_headers import Header, read_headers
from sender.document.dsn import Dsn, read_dsn
from sender.document.fields import Fields, describe
from sender.document.named_headers import message_headers, read_date, unsubscribe_headers
from shared.delivery.times import EXPECTED, point_in_time

Entries = tuple[Address | Group, ...]

#: What nodemailer would have understood in `message`, and Firepost does not send.
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
#: Receivers' servers refuse more in one mail long before, and so should an application's rules.
MAX_RECIPIENTS = 1_000
#: They are looked up in one request, and each is a document that is billed.
MAX_UIDS = 500
MAX_SUBJECT = 10_000

# Headers that would contradict the recipients or the structure of the mail.
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
# Headers that stand for something Firepost writes anyway, and once only (RFC 5322 section 3.6).
_SINGLE = frozenset(("subject", "message-id", "date", "reply-to", "sender"))
_AN_ADDRESS = "an address such as 'name@example.com' or 'Name <name@example.com>'"
_MESSAGE_ID = re.compile(r"<?([!-;=?-~]{1,800})>?")  # looser than RFC 5322 section 3.6.4, as applications are
_METHOD = re.compile(r"[A-Za-z][A-Za-z-]{0,40}")  # RFC 5546 section 1.4, and what may come


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An invitation or the like (RFC 6047). `method` is in capitals; None where only the content says it."""

    method: str | None
    file: Attachment


@dataclass(frozen=True, slots=True)
class Message:
    """What the document itself says, without a template."""

    subject: str | None
    text: str | None
    html: str | None
    amp: str | None
    attachments: tuple[Attachment, ...]
    alternatives: tuple[Attachment, ...] = ()
    event: CalendarEvent | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """Which template to render, with what."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MailDocument:
    """A well-formed document; None and empty mean not given.

    `uids` is by field (`toUids` …). `author` is what From says, `sender` what Sender does. `message_id` is without its
    angle brackets, `date` as RFC 5322 writes it. `headers` are those that no other field here stands for. `warnings`
    name what was given and is not sent. `transport` is as it stands in the document, whatever it is: only where
    transports have names does the field mean anything.
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
    """Check a decoded document (str, int, float, bool, None, bytes, datetime, list, dict).

    Raises `NotSendable` with all faults in one text, the first one first.
    """
    return _Parser(Fields(fields)).document()


def read_attachments(fields: Fields) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """The `attachments` of a map (a template's, say) by the rules of a message's, and warnings about them.

    Faults are noted with `fields`.
    """
    parser = _Parser(fields)
    attachments = tuple(parser.files(fields, "attachments"))
    return attachments, tuple(parser.warnings)


class _Parser:
    """The way through one document: what its parts need to know of each other."""

    def __init__(self, top: Fields) -> None:
        self.top = top
        self.said: Fields | None = None  # the `message` map
        self.warnings: list[str] = []
        self.single: dict[str, Header] = {}  # those of _SINGLE among the headers, by lower-case name

    def document(self) -> MailDocument:
        top = self.top
        to, cc, bcc = (self.recipients(field) for field in ("to", "cc", "bcc"))
        uids = {field: uids for field in ("toUids", "ccUids", "bccUids") if (uids := self.uids(field))}
        if not (top.faulty or uids or any(mailboxes((*to, *cc, *bcc)))):
            top.fault("to", "none", "at least one recipient in 'to', 'cc', 'bcc', 'toUids', 'ccUids' or 'bccUids'")
        self.count(to, cc, bcc, uids)
        self.send_at()
        self.said = top.map("message")
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
            dsn=read_dsn(self.said) if self.said else None,
            message=self.message(),
            template=self.template(),
            send_grid=self.send_grid(),
            categories=tuple(text for _, text in top.texts("categories")),
            transport=top.values.get("transport"),
            warnings=tuple(self.warnings),
        )
        top.raise_faults()
        return document

    def count(self, to: Entries, cc: Entries, bcc: Entries, uids: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse what is too many for one mail."""
        recipients, ids = sum(1 for _ in mailboxes((*to, *cc, *bcc))), sum(map(len, uids.values()))
        if recipients > MAX_RECIPIENTS:
            self.top.fault(
                "to", f"{recipients:,} of them", f"at most {MAX_RECIPIENTS:,} recipients in 'to', 'cc' and 'bcc'"
            )
        if ids > MAX_UIDS:
            self.top.fault(next(iter(uids)), f"{ids:,} of them", f"at most {MAX_UIDS:,} user ids in one mail")

    def send_at(self) -> None:
        """Refuse a time that can't be read: the mail would go out at once, and can't be taken back."""
        given = self.top.values.get("sendAt")
        if given is not None and point_in_time(given) is None:
            found = "another text" if isinstance(given, str) and given else describe(given)
            self.top.fault("sendAt", found, EXPECTED)

    def recipients(self, field: str) -> Entries:
        texts = self.top.texts(field, or_one=True)
        return tuple(entry for name, text in texts for entry in self.addresses(name, text))

    def uids(self, field: str) -> tuple[str, ...]:
        texts = self.top.texts(field)
        for name, text in texts:
            if not text:
                self.top.fault(name, "an empty string", "a user id")
        return tuple(text for _, text in texts)

    def addresses(self, name: str, text: str | None, *, joins_names: bool = False) -> Entries:
        try:
            return parse_addresses(text or "", joins_names=joins_names)
        except BadAddress as error:
            self.top.fault(name, str(error), _AN_ADDRESS)
            return ()

    def headers(self) -> tuple[Header, ...]:
        """The headers to be sent as they are, each name from the first place that gives it; _SINGLE go to `single`."""
        places = [unsubscribe_headers(self.top), self.unreserved(self.top)]
        if self.said:
            places[1:1] = [message_headers(self.said, self.not_sent)]
            places.append(self.unreserved(self.said))
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
        """The header that says the same as a field, if that field isn't given: in nodemailer, too, the field wins."""
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
        given = read_date(self.said) if self.said else None
        header = self.single_header("date", "message.date", given)
        return header.value if header else given

    def message_id(self) -> str | None:
        fields, name = self.said or self.top, "messageId"
        text = self.said.line(name) if self.said else None
        header = self.single_header("message-id", "message.messageId", text)
        if header:
            fields, name, text = self.top, header.path, header.value
        if not text:
            return None
        found = _MESSAGE_ID.fullmatch(text.strip(" "))
        if not found:
            fields.fault(name, "something else", "a message id such as '<unique@example.com>', in ASCII")
        return found[1] if found else None

    def message(self) -> Message | None:
        said, given = self.said, self.top.values
        if said is None or not said.values:
            if given.get("message") in (None, {}) and given.get("template") is None and given.get("sendGrid") is None:
                found = describe(given.get("message"))
                self.top.fault("message", found, "a map with 'subject' and 'text' or 'html', or else a 'template'")
            if alone := self.single.get("subject"):  # the template may have none
                return Message(subject=alone.value, text=None, html=None, amp=None, attachments=())
            return None
        subject = said.line("subject")
        header = self.single_header("subject", "message.subject", subject)
        if len(subject or "") > MAX_SUBJECT:
            said.fault("subject", "a longer one", f"a subject of at most {MAX_SUBJECT:,} characters")
        message = Message(
            subject=header.value if header else subject,
            text=said.text("text"),
            html=said.text("html"),
            amp=said.text("amp"),
            attachments=tuple(self.files(said, "attachments")),
            alternatives=tuple(self.files(said, "alternatives")),
            event=self.event(said),
        )
        if given.get("template") is None:
            self.check_complete(said)
        for name in UNSUPPORTED:
            if said.values.get(name) is not None:
                self.not_sent(said.path(name), "is not supported")
        return message

    def check_complete(self, said: Fields) -> None:
        if said.values.get("subject") is None:
            said.fault("subject", "nothing", "a string")
        if not said.values.get("text") and not said.values.get("html"):
            said.fault("text", describe(said.values.get("text")), "a non-empty 'text' or 'html'")

    def files(self, said: Fields, field: str) -> Iterator[Attachment]:
        for entry in said.maps(field):
            if file := read_attachment(entry, self.unreserved):
                yield file

    def event(self, said: Fields) -> CalendarEvent | None:
        """`icalEvent`: the calendar object itself, or a map that describes it as an attachment is described."""
        entry = said.map_around("icalEvent", "content")
        if entry is None or not entry.values:
            return None
        file = read_attachment(entry, self.unreserved)
        if file is None:
            entry.fault("content", "nothing", "a string or bytes")
            return None
        method = (entry.line("method") or "").strip(" ")
        if method and not _METHOD.fullmatch(method):
            entry.fault("method", "another string", "a word such as 'REQUEST'")
        return CalendarEvent(method.upper() or None, file)

    def template(self) -> Template | None:
        fields = self.top.map("template")
        if fields is None:
            return None
        name, data = fields.filled("name"), fields.map("data")
        return Template(name, data.values if data else {})

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

    def not_sent(self, path: str, reason: str) -> None:
        self.warnings.append(f"Field '{path}' {reason} and was not sent.")

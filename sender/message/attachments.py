"""Loads the files of a mail: from their descriptions in the document to content with a name and a media type.

Content comes from the document itself (text, bytes or a `data:` URL), from an `https:` URL or from Cloud Storage. Local
files are never opened: file paths are rejected. (Trigger Email sends any local file and fetches any URL.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sender.document.attachments import AN_OBJECT_NAME, Attachment, StoredObject, is_object_name
from sender.document.document import CalendarEvent
from sender.downloads.source import CannotFetch, Fetch, Fetched, WebFile, fetch_nothing
from sender.memory.budget import Room, Unlimited
from sender.memory.need import files_within, of_files, of_repeated
from sender.message.decoding import decode, decode_data_url, plain_name
from sender.message.media_types import UNKNOWN, guess_extension, guess_type
from sender.message.mime.parts import Entity, File
from sender.message.mime.ready_made import NotMime, ready_made
from shared.errors import ErrorCode, NotLoaded, NotSendable

#: Mail servers commonly accept 25 to 35 MB, and base64 adds a third.
MAX_TOTAL_BYTES = 25 * 1024 * 1024
MAX_COUNT = 100

#: While the files from elsewhere are smaller than this in all, a mail reserves no memory for large ones.
EASY_BYTES = 1024 * 1024

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_REFUSED = {
    "http": "a http: URL, which anyone on the way can read and change",
    "file": "a file: URL, which Firepost never opens",
}
_STORAGE_URL = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/([^#]+)(?:#([0-9]{1,19}))?", re.IGNORECASE)
_EXPECTED_URL = "a 'https:', 'gs:' or 'data:' URL, or 'content' in its place"


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment that is already MIME; `content_id` is the id by which the HTML page refers to it."""

    entity: Entity
    content_id: str | None


class Loader:
    """Loads the files of one mail, and limits their number and total size.

    `warnings` has a sentence for each file that was loaded and that receivers may have trouble with.
    """

    def __init__(self, fetch: Fetch = fetch_nothing, room: Room | None = None, taken: int = 0) -> None:
        """Reserves in `room` (None: there is no limit) what files from elsewhere can need.

        `taken` is what the mail needs without files, in bytes.
        """
        self.warnings: list[str] = []
        self._fetch = fetch
        self._room = room or Unlimited()
        self._taken = taken
        self._most = self._left = self._space()
        self._reserved = 0

    def reserve(self, size: int) -> None:
        """Reserve memory for texts of this many bytes that the request repeats; call it before files are loaded.

        Raises `Deferred` if they are not free in time.
        """
        self._taken += of_repeated(size)
        self._most = self._left = self._space()
        self._room.take(self._taken)

    def attachments(self, attachments: Sequence[Attachment]) -> Iterator[File | Part]:
        """Load the attachments, in order. To save memory, encode each one before the next is loaded.

        Raises `NotSendable` (code `attachment`) naming the first one that can't be loaded or the exceeded limit, and
        `NotLoaded` if a later attempt may succeed.
        """
        if len(attachments) > MAX_COUNT:
            raise _wrong("message.attachments", f"{len(attachments)} of them", f"at most {MAX_COUNT} attachments")
        for number, attachment in enumerate(attachments, start=1):
            yield self._attachment(attachment, number)

    def alternatives(self, alternatives: Sequence[Attachment]) -> Iterator[File | Part]:
        """Load alternative versions of the text; only given names are used. Raises the errors of `attachments`."""
        if len(alternatives) > MAX_COUNT:
            raise _wrong("message.alternatives", f"{len(alternatives)} of them", f"at most {MAX_COUNT} alternatives")
        for alternative in alternatives:
            if alternative.raw is not None:
                yield self._raw(alternative)
            else:
                disposition = alternative.disposition or ("attachment" if alternative.filename else None)
                file = self._file(alternative, unknown_type="text/plain")
                yield replace(file, disposition=disposition, filename=alternative.filename)

    def event(self, event: CalendarEvent) -> tuple[File, File]:
        """Load the event as an alternative and as an attachment, because mail clients support one or the other.

        Raises the errors of `attachments`.
        """
        file = self._file(event.file, unknown_type="text/calendar")
        said_inside = _method_in(file.content)
        if event.method and said_inside and event.method != said_inside:
            self.warnings.append(
                "Field 'message.icalEvent.method' is not the METHOD of the event itself: "
                "some mail clients will not show it as an invitation (RFC 6047 section 2.4)."
            )
        method = event.method or said_inside or "PUBLISH"
        media_type = f"text/calendar; charset=utf-8; method={method}"
        version = File(file.content, media_type, disposition=None, filename=None, headers=file.headers)
        name = file.filename or "invite.ics"
        return version, replace(file, media_type="application/ics", disposition="attachment", filename=name)

    def _space(self) -> int:
        """The bytes of files for which there is memory besides what the mail needs without them."""
        return min(MAX_TOTAL_BYTES, files_within(self._room.most - self._taken))

    def _attachment(self, attachment: Attachment, number: int) -> File | Part:
        if attachment.raw is not None:
            return self._raw(attachment)
        file = self._file(attachment, UNKNOWN)
        return replace(file, filename=file.filename or f"attachment-{number}{guess_extension(file.media_type)}")

    def _raw(self, attachment: Attachment) -> Part:
        try:
            return Part(ready_made(self._counted(attachment, _bytes(attachment.raw or ""))), attachment.content_id)
        except NotMime as error:
            raise _wrong(f"{attachment.path}.raw", error.found, error.expected) from None

    def _file(self, attachment: Attachment, unknown_type: str) -> File:
        """Load a file; its name is the document's, otherwise the source's, otherwise None."""
        loaded = self._loaded(attachment)
        name = attachment.filename or loaded.filename
        media_type = attachment.media_type or loaded.media_type or guess_type(name or "", unknown_type)
        if media_type.lower().startswith("text/") and _is_utf8(attachment) and "charset=" not in media_type.lower():
            media_type += "; charset=utf-8"  # the content is encoded as UTF-8
        return File(
            content=self._counted(attachment, loaded.content),
            media_type=media_type,
            disposition=attachment.disposition or _default_disposition(media_type, attachment.content_id),
            filename=name,
            content_id=attachment.content_id,
            headers=tuple((header.name, header.value) for header in attachment.headers),
        )

    def _loaded(self, attachment: Attachment) -> Fetched:
        url, path = attachment.url, f"{attachment.path}.{attachment.url_field}"
        if attachment.stored:
            return self._fetched(attachment.stored, attachment.path)
        if url is None:
            return Fetched(_from_content(attachment))
        scheme = _SCHEME.match(url)
        match scheme and scheme[1].lower():
            case "data":
                return _from_data_url(path, url)
            case "https":
                return self._fetched(WebFile(url, attachment.http_headers), path)
            case "gs":
                return self._fetched(_stored_object(path, url), path)
            case None:
                raise _wrong(path, "a file path, which Firepost never opens", _EXPECTED_URL)
            case name:
                raise _wrong(path, _REFUSED.get(name, "another kind of URL"), _EXPECTED_URL)

    def _fetched(self, source: WebFile | StoredObject, path: str) -> Fetched:
        loaded = self._most - self._left
        self._reserve(loaded)
        try:
            return self._fetch(source, self._left, lambda size: self._reserve(loaded + size))
        except CannotFetch as error:
            kind = NotLoaded if error.transient else NotSendable
            raise kind.field(path, error.found, error.expected, ErrorCode.ATTACHMENT) from error

    def _reserve(self, size: int) -> None:
        """Reserve memory for files of this size in all: a little for small ones, otherwise for as much as may come."""
        wanted = EASY_BYTES if size <= EASY_BYTES else self._most
        if wanted > self._reserved:
            self._room.take(self._taken + of_files(wanted))
            self._reserved = wanted

    def _counted(self, attachment: Attachment, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            field = re.sub(r"\.\d+$", "", attachment.path)
            cause = "" if self._most == MAX_TOTAL_BYTES else ", for which this sender has the memory"
            raise _wrong(field, "more", f"at most {self._most // 1024**2} MB in all{cause}")
        return content


def _is_utf8(attachment: Attachment) -> bool:
    """Whether the content is a string that becomes UTF-8."""
    is_string = isinstance(attachment.content, str) and not attachment.url
    return is_string and plain_name(attachment.encoding or "utf8") == "utf8"


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _from_content(attachment: Attachment) -> bytes:
    content = attachment.content
    if content is None:
        if attachment.filename is None:
            raise _wrong(f"{attachment.path}.content", "nothing", "a string or bytes")
        return b""  # an empty file, as nodemailer sends it
    if isinstance(content, bytes):
        return content
    try:
        return decode(content, attachment.encoding or "utf8")
    except LookupError:
        expected = "'base64', 'base64url', 'hex', 'utf8', 'utf16le', 'latin1' or 'ascii'"
        raise _wrong(f"{attachment.path}.encoding", "another word", expected) from None
    except ValueError:
        expected = "text encoded as its 'encoding' says"
        raise _wrong(f"{attachment.path}.content", "text that is not", expected) from None


def _from_data_url(path: str, url: str) -> Fetched:
    try:
        media_type, content = decode_data_url(url)
        return Fetched(content, media_type)
    except LookupError:
        raise _wrong(path, "a malformed one", "a URL of the form 'data:<media type>;base64,<data>'") from None
    except ValueError:
        raise _wrong(path, "a 'data:' URL with text that is not base64", "base64 after the comma") from None


def _stored_object(path: str, url: str) -> StoredObject:
    found = _STORAGE_URL.fullmatch(url)
    if found and not is_object_name(found[2]):
        raise _wrong(path, "a URL with another one", AN_OBJECT_NAME)
    if not found:
        raise _wrong(
            path, "a malformed one", "a URL of the form 'gs://bucket/object' or 'gs://bucket/object#generation'"
        )
    return StoredObject(found[1], found[2], int(found[3]) if found[3] else None)


def _method_in(content: bytes) -> str | None:
    """The calendar object's own METHOD, which its media type must repeat (RFC 6047 section 2.4); None without one."""
    found = re.search(rb"^METHOD(?:;[^:\r\n]*)?:([A-Z-]{1,40})[ \t]*\r?$", content, re.MULTILINE | re.IGNORECASE)
    return found[1].decode().upper() if found else None


def _default_disposition(media_type: str, content_id: str | None) -> str:
    """As in nodemailer: inline for messages, and for images with a Content-ID."""
    family = media_type.lower().partition("/")[0]
    return "inline" if family == "message" or (family == "image" and content_id) else "attachment"


def _wrong(path: str, found: str, expected: str) -> NotSendable:
    return NotSendable.field(path, found, expected, ErrorCode.ATTACHMENT)

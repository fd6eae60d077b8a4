"""Attachments: from what the document says about them to bytes with a name and a type.

Content is what the document itself holds, as text, bytes or a `data:` URL (RFC 2397). Nothing is opened and nothing is
fetched: a path or another kind of URL is refused by name. (Trigger Email mails any local file and fetches any URL.)
"""

from __future__ import annotations

import binascii
import functools
import mimetypes
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from sender.mime.parts import File
from shared.document import Attachment, is_media_type
from shared.errors import ErrorCode, NotSendable

#: More is refused: servers commonly stop at 25 to 35 MB, and base64 adds a third.
MAX_TOTAL_BYTES = 25 * 1024 * 1024
MAX_COUNT = 100

_UNKNOWN_TYPE = "application/octet-stream"
# What mails carry and Python's own table lacks, or has only in some versions.
_MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".ics": "text/calendar",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".p7s": "application/pkcs7-signature",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_REFUSED = {
    "https": "an https: URL, which Firepost does not download",
    "http": "an http: URL, which Firepost does not download",
    "gs": "a gs: URL, which Firepost does not download",
    "file": "a file: URL, which Firepost never opens",
}
_EXPECTED_URL = "a 'data:' URL, or 'content' in its place"


def load_attachments(attachments: Sequence[Attachment]) -> tuple[File, ...]:
    """The attachments' bytes, names and types, in order.

    Raises `NotSendable` (code `attachment`) naming the first one that can't be had, or the limit they exceed together.
    """
    if len(attachments) > MAX_COUNT:
        raise _wrong("message.attachments", f"{len(attachments)} of them", f"at most {MAX_COUNT} attachments")
    files = []
    total = 0
    for number, attachment in enumerate(attachments, start=1):
        files.append(_load(attachment, number))
        total += len(files[-1].content)
        if total > MAX_TOTAL_BYTES:
            limit = f"at most {MAX_TOTAL_BYTES // 1024**2} MB in all"
            raise _wrong("message.attachments", "more", limit)
    return tuple(files)


def _load(attachment: Attachment, number: int) -> File:
    if attachment.has_raw:
        raise _wrong(
            f"{attachment.path}.raw", "ready-made MIME, which Firepost does not send", "'content' in its place"
        )
    url_type, content = _from_url(attachment) if attachment.url else (None, _from_content(attachment))
    media_type = attachment.media_type or url_type or _guess_type(attachment.filename or "")
    if media_type.lower().startswith("text/") and _is_utf8_by_now(attachment) and "charset=" not in media_type.lower():
        media_type += "; charset=utf-8"  # the reader can't know unless told
    return File(
        content=content,
        media_type=media_type,
        disposition=attachment.disposition or _default_disposition(media_type, attachment.content_id),
        filename=attachment.filename or f"attachment-{number}{_guess_extension(media_type)}",
        content_id=attachment.content_id,
        headers=tuple((header.name, header.value) for header in attachment.headers),
    )


def _is_utf8_by_now(attachment: Attachment) -> bool:
    """Whether the content came as a plain string."""
    is_string = isinstance(attachment.content, str) and not attachment.url
    return is_string and _plain(attachment.encoding or "utf8") == "utf8"


def _from_content(attachment: Attachment) -> bytes:
    content = attachment.content
    if content is None:
        if attachment.filename is None:
            raise _wrong(f"{attachment.path}.content", "nothing", "a string or bytes")
        return b""  # an empty file, as nodemailer sends it
    if isinstance(content, bytes):
        return content
    try:
        return _decode(content, attachment.encoding or "utf8")
    except LookupError:
        expected = "'base64', 'base64url', 'hex', 'utf8', 'utf16le', 'latin1' or 'ascii'"
        raise _wrong(f"{attachment.path}.encoding", "another word", expected) from None
    except ValueError:
        expected = "text encoded as its 'encoding' says"
        raise _wrong(f"{attachment.path}.content", "text that is not", expected) from None


def _decode(text: str, encoding: str) -> bytes:
    """What Node's `Buffer.from(text, encoding)` makes of it; where that drops what it can't read, `ValueError`.

    Raises `LookupError` for an encoding that Node doesn't know.
    """
    match _plain(encoding):
        case "base64" | "base64url":
            return _decode_base64(text)
        case "hex":
            return bytes.fromhex(text)
        case "utf8" | "ascii" | "usascii":
            return text.encode("utf-8", "replace")
        case "utf16le" | "ucs2":
            return text.encode("utf-16-le", "replace")
        case "latin1" | "binary":
            return text.encode("latin-1")
        case _:
            raise LookupError(encoding)


def _plain(encoding: str) -> str:
    """An encoding's name as nodemailer compares it: `UTF-8` is `utf8`."""
    return re.sub(r"[-_\s]", "", encoding.lower())


def _decode_base64(text: str) -> bytes:
    """Base64 in either alphabet, with or without padding, white space anywhere. Raises `ValueError`."""
    text = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def _from_url(attachment: Attachment) -> tuple[str, bytes]:
    """Media type and content of a `data:` URL."""
    path, url = f"{attachment.path}.{attachment.url_field}", attachment.url or ""
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise _wrong(path, "a file path, which Firepost never opens", _EXPECTED_URL)
    if scheme[1].lower() != "data":
        raise _wrong(path, _REFUSED.get(scheme[1].lower(), "another kind of URL"), _EXPECTED_URL)
    meta, comma, data = url[scheme.end() :].partition(",")
    is_base64 = meta.lower().replace(" ", "").endswith(";base64")
    media_type = meta[: meta.rindex(";")] if is_base64 else meta
    if not media_type or media_type.startswith(";"):
        media_type = "text/plain" + (media_type or ";charset=US-ASCII")  # RFC 2397 section 2
    if not comma or not is_media_type(media_type):
        raise _wrong(path, "a malformed one", "a URL of the form 'data:<media type>;base64,<data>'")
    content = unquote_to_bytes(data.encode("utf-8", "replace"))
    if not is_base64:
        return media_type, content
    try:
        return media_type, _decode_base64(content.decode("latin-1"))
    except ValueError:
        raise _wrong(path, "a 'data:' URL with text that is not base64", "base64 after the comma") from None


def _default_disposition(media_type: str, content_id: str | None) -> str:
    """As in nodemailer: shown within the mail if it is a message or an image that the page refers to."""
    family = media_type.lower().partition("/")[0]
    return "inline" if family == "message" or (family == "image" and content_id) else "attachment"


@functools.cache
def _types() -> mimetypes.MimeTypes:
    """Python's built-in table with our additions; what the machine's own files say is left out."""
    table = mimetypes.MimeTypes(filenames=())
    for extension, media_type in _MORE_TYPES.items():
        table.add_type(media_type, extension)
    return table


def _guess_type(filename: str) -> str:
    extension = posixpath.splitext(filename)[1].lower()
    return _types().types_map[True].get(extension, _UNKNOWN_TYPE)


def _guess_extension(media_type: str) -> str:
    return _types().guess_extension(media_type.partition(";")[0].strip()) or ".bin"


def _wrong(path: str, found: str, expected: str) -> NotSendable:
    return NotSendable.field(path, found, expected, ErrorCode.ATTACHMENT)

"""Reads the description of a file in a document: an entry of `attachments` or `alternatives`, or `icalEvent`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sender.document.custom_headers import MAX_WORD, Header, read_headers
from sender.document.fields import Fields, describe
from sender.document.invisible import stripped

_FIELDS = (
    "filename",
    "content",
    "path",
    "href",
    "httpHeaders",
    "contentType",
    "contentDisposition",
    "cid",
    "encoding",
    "headers",
    "raw",
    "bucket",
    "object",
)
# Headers that Firepost sets itself, and those that concern its own connection (RFC 9110 section 7.6.1).
_HTTP_RESERVED = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

AN_OBJECT_NAME = "the name of an object: up to 1,024 bytes in one line, and not '.' or '..'"

_CONTENT_ID = re.compile(r"<?([!-;=?-~](?:[ -;=?-~]{0,198}[!-;=?-~])?)>?")
_NAME = r"[\w!#$%&'*+.^`{|}~-]+"  # RFC 2045's token
_MEDIA_TYPE = re.compile(
    rf'{_NAME}/{_NAME}(?:[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|"(?:[ !#-\[\]-~]|\\[ -~])*"))*;?', re.ASCII
)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in Cloud Storage; `generation` None means the live one."""

    bucket: str
    name: str
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as the document describes it; `path` is the entry's field path in the document.

    The first source given here provides the content: `raw` (a complete MIME part), `url` (the entry's `path` or `href`,
    as named by `url_field`; requested with `http_headers`), `content` (bytes, or text in the given `encoding`),
    `stored`.
    """

    path: str
    filename: str | None
    content: str | bytes | None
    encoding: str | None
    url_field: str
    url: str | None
    http_headers: tuple[tuple[str, str], ...]
    stored: StoredObject | None
    media_type: str | None
    disposition: str | None
    content_id: str | None
    headers: tuple[Header, ...]
    raw: str | bytes | None


def read_attachment(entry: Fields, headers: Callable[[Fields], list[Header]]) -> Attachment | None:
    """Read the file that the map describes, or None if it has no relevant field; faults are recorded in `entry`.

    `headers` reads the map's own `headers` and omits those that must not be sent.
    """
    if all(entry.values.get(name) is None for name in _FIELDS):
        return None
    path, href = stripped(entry.text("path") or ""), stripped(entry.text("href") or "")
    url, content = path or href or None, _content(entry, "content")
    content_id = _checked(entry, "cid", _CONTENT_ID.fullmatch, "up to 200 printable ASCII characters")
    content_id = content_id and content_id.strip("<>")
    media_type = _checked(entry, "contentType", is_media_type, "a media type such as 'application/pdf'")
    disposition = _checked(entry, "contentDisposition", _is_disposition, "'attachment' or 'inline'")
    return Attachment(
        path=entry.at,
        filename=entry.line("filename"),
        content=content,
        encoding=entry.identifier("encoding"),
        url_field="path" if path else "href",
        url=url,
        http_headers=_http_headers(entry),
        stored=_stored(entry) if url is None and content is None else None,
        media_type=media_type and media_type.rstrip("; "),
        disposition=disposition and disposition.lower(),
        content_id=content_id,
        headers=tuple(header for header in headers(entry) if not (content_id and header.key == "content-id")),
        raw=_content(entry, "raw") or None,
    )


def is_media_type(text: str) -> bool:
    """Whether the text is `type/subtype`, with or without parameters (RFC 2045 section 5.1)."""
    return len(text) <= MAX_WORD and _MEDIA_TYPE.fullmatch(text) is not None


def is_object_name(text: str) -> bool:
    """Whether Cloud Storage accepts the name (https://cloud.google.com/storage/docs/objects#naming)."""
    size = len(text.encode("utf-8", "replace"))
    return 0 < size <= 1024 and text not in (".", "..") and not re.search(r"[\r\n\0]", text)


def _content(entry: Fields, name: str) -> str | bytes | None:
    value = entry.values.get(name)
    if value is None or isinstance(value, str | bytes):
        return value
    entry.fault(name, describe(value), "a string or bytes")
    return None


def _checked(fields: Fields, name: str, check: Callable[[str], object], expected: str) -> str | None:
    text = fields.identifier(name)
    if text and not check(text):
        fields.fault(name, "another string", expected)
    return text


def _is_disposition(text: str) -> bool:
    return text.lower() in ("attachment", "inline")


def _http_headers(entry: Fields) -> tuple[tuple[str, str], ...]:
    headers = read_headers(entry, "httpHeaders")
    for header in headers:
        name = f"httpHeaders.{header.name}"
        if header.key in _HTTP_RESERVED:
            entry.fault(name, "one of those that Firepost sets itself", "another header")
        elif not header.value.isascii():
            entry.fault(name, "other characters", "a value in ASCII")
    return tuple((header.name, header.value) for header in headers)


def _stored(entry: Fields) -> StoredObject | None:
    if entry.values.get("bucket") is None and entry.values.get("object") is None:
        return None
    generation = entry.values.get("generation")
    if isinstance(generation, str) and re.fullmatch(r"[0-9]{1,19}", generation):
        generation = int(generation)
    if generation is not None and (type(generation) is not int or not 0 < generation < 2**63):
        entry.fault("generation", describe(generation), "a positive whole number, or one in a string")
        generation = None
    name = entry.filled("object")
    if name and not is_object_name(name):
        entry.fault("object", "another string", AN_OBJECT_NAME)
    return StoredObject(entry.filled("bucket"), name, generation)

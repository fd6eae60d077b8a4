"""The visible parts of a mail: its headers, texts and attachments. Pure: bytes in, values out.

Whatever arrives is shown. What can't be read (Python's library raises nearly anything for malformed headers) is shown
as it is. The time is proportional to the length, and all texts can be encoded.
"""

from __future__ import annotations

import codecs
import email
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from html import unescape
from itertools import islice
from typing import Any, TypeVar

_T = TypeVar("_T")

_CID = re.compile(r"\bcid:([^\"'\s)>]+)", re.IGNORECASE)
_HREF = re.compile(r"\bhref\s*=\s*[\"']?(https?://[^\"'\s>]+)", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"']+")
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
_MOST_LINKS = 200
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)

#: The library takes more than linear time for parameters, and for encoded words in one line: longer ones are not read.
_LONGEST_PARAMETERS = 10_000
_LONGEST_LINE = 998  # RFC 5322 section 2.1.1

_NO_CHARSET = frozenset({"punycode"})  # Python takes it for one, and needs quadratic time
_OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not one of the two bodies; `content_id` has no angle brackets, and is empty if missing.

    `name` is printable, and `type` is a media type.
    """

    name: str
    type: str
    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class MailView:
    """A parsed mail. A text is None if the mail has no such part; headers are decoded and in order."""

    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]

    def header(self, name: str) -> str:
        """The first header with that name, empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class _Policy(Compat32):
    """Gives header values as text for the library's parsing of parameters."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return _utf8(value[:_LONGEST_PARAMETERS])


_POLICY = _Policy()


def parse_mail(data: bytes) -> MailView:
    """Parse a mail leniently: malformed parts are shown as they are and never raise an error."""
    message, parts = _parsed(data)
    texts: dict[str, str] = {}
    attachments: list[Attachment] = []
    for part in parts:
        kind = _type(part)
        is_attachment = _attempt(part.get_content_disposition, None) == "attachment"
        if kind in ("text/plain", "text/html") and kind not in texts and not is_attachment:
            texts[kind] = _decoded(part)
        else:
            attachments.append(_attachment(part, kind, len(attachments) + 1))
    headers = tuple((_utf8(name), _decoded_header(_utf8(value))) for name, value in message.raw_items())
    return MailView(headers, texts.get("text/plain"), texts.get("text/html"), tuple(attachments))


def links(view: MailView) -> tuple[str, ...]:
    """The web addresses in the html and in the text, each once, in order; a limited number of them."""
    in_html = (unescape(found) for found in _HREF.findall(view.html or ""))
    in_text = (found.rstrip(".,;:!?)") for found in _URL.findall(view.text or ""))
    return tuple(islice(dict.fromkeys((*in_html, *in_text)), _MOST_LINKS))


def in_new_tabs(html: str) -> str:
    """`html` whose links open in a new tab, unless they say otherwise; a doctype stays at the beginning."""
    doctype = _DOCTYPE.match(html)
    at = doctype.end() if doctype else 0
    return f'{html[:at]}<base target="_blank">{html[at:]}'


def with_inline_images(html: str, url_by_content_id: Mapping[str, str]) -> str:
    """`html` with each `cid:` reference (RFC 2392) to a known part replaced by that part's URL."""
    return _CID.sub(lambda found: url_by_content_id.get(found[1], found[0]), html)


def _parsed(data: bytes) -> tuple[Message[str, str], list[Message[str, str]]]:
    """The mail and its parts; if its structure can't be read (it may be nested too deeply), its body is the part."""
    try:
        message = email.message_from_bytes(data, policy=_POLICY)
        return message, [part for part in message.walk() if not part.is_multipart()]
    except Exception:
        message = BytesHeaderParser(policy=_POLICY).parsebytes(data)
        return message, [message]


def _attempt(read: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return read()
    except Exception:
        return otherwise


def _utf8(text: str) -> str:
    """The text of a header, whose bytes the library has kept as surrogates (RFC 6532: they are UTF-8)."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _clean(text: str) -> str:
    """The text without half surrogate pairs, which some encodings have."""
    return text.encode("utf-8", "replace").decode()


def _decoded_header(value: str) -> str:
    unfolded = re.sub(r"[\r\n]+", "", value)
    if "=?" not in value or max(map(len, value.splitlines()), default=0) > _LONGEST_LINE:
        return unfolded
    return _clean(_attempt(lambda: str(make_header(decode_header(value))), unfolded))


def _type(part: Message[str, str]) -> str:
    found = _attempt(part.get_content_type, _OCTETS)
    return found if _MEDIA_TYPE.fullmatch(found) else _OCTETS


def _attachment(part: Message[str, str], kind: str, number: int) -> Attachment:
    name = _decoded_header(_attempt(part.get_filename, None) or "")
    return Attachment(
        name="".join(character if character.isprintable() else "_" for character in name) or f"part-{number}",
        type=kind,
        content_id=part.get("Content-ID", "").strip().removeprefix("<").removesuffix(">"),
        content=_content(part),
    )


def _content(part: Message[str, str]) -> bytes:
    payload: Any = _attempt(lambda: part.get_payload(decode=True), None)
    if payload is None:
        payload = _attempt(lambda: str(part.get_payload()).encode("utf-8", "surrogateescape"), b"")
    return payload if isinstance(payload, bytes) else b""


def _decoded(part: Message[str, str]) -> str:
    content = _content(part)
    charset = _attempt(lambda: codecs.lookup(part.get_content_charset("utf-8")).name, "utf-8")
    readable = "utf-8" if charset in _NO_CHARSET else charset
    return _clean(_attempt(lambda: content.decode(readable, "replace"), content.decode("utf-8", "replace")))

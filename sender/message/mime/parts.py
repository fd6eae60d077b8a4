"""MIME entities (RFC 2045, 2046, 2387): bodies encoded, put together, and written out as a whole message.

All bytes that come out have CRLF line ends, no bare CR or LF, and no line beyond 998 bytes.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sender.message.mime import headers

# What may travel as it is: printable ASCII and tabs, lines of at most 78 (RFC 5322's wish; 998 is only its limit).
_PLAIN_LINES = re.compile(rb"(?:[\t -~]{0,78}\n)*[\t -~]{0,78}")
# Parts that are messages themselves must not be encoded (RFC 2046 section 5.2.1), so they must fit the hard limit.
_PLAIN_MESSAGE = re.compile(rb"(?:[\t -~]{0,998}\r\n)*[\t -~]{0,998}")
#: A media type with a name of its own.
_NAMED = re.compile(r";[ \t]*name(?:\*[0-9*]*)?=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entity:
    """A part, or a tree of parts: its content headers (each ending in CRLF) and its encoded body."""

    headers: str
    body: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A part with everything decided: `media_type` may have parameters, `disposition` is a bare word.

    Without a disposition, the name is not written.
    """

    content: bytes
    media_type: str
    disposition: str | None
    filename: str | None
    content_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def text(subtype: str, content: str) -> Entity:
    """A `text/<subtype>` part in UTF-8; any kind of line end becomes CRLF, lone surrogates question marks.

    The transfer encoding is 7bit for plain ASCII with short lines, else quoted-printable or base64, what is shorter.
    """
    encoding, body = _encoded_text(_with_line_feeds(content.encode("utf-8", "replace")))
    return Entity(f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n", body)


def file(attachment: File) -> Entity:
    """An attachment, in base64; a `message/…` as it is (but for its line ends) if it can be, else as a mere file."""
    media_type, content = attachment.media_type, attachment.content
    if media_type.lower().startswith("message/"):
        lines = _with_line_feeds(content).replace(b"\n", b"\r\n")
        if _PLAIN_MESSAGE.fullmatch(lines):
            return _part(attachment, media_type, "7bit", lines)
    if media_type.lower().startswith(("message/", "multipart/")):
        media_type = "application/octet-stream"
    return _part(attachment, media_type, "base64", _base64(content))


def version(alternative: File) -> Entity:
    """Another version of the text: if it is text, encoded as `text` does it, and else as a file is."""
    content = alternative.content
    if not alternative.media_type.lower().startswith("text/") or b"\0" in content:
        return file(alternative)
    return _part(alternative, alternative.media_type, *_encoded_text(_with_line_feeds(content)))


def _part(described: File, media_type: str, encoding: str, body: bytes) -> Entity:
    filename = described.filename if described.disposition else None
    if filename and not _NAMED.search(media_type):
        fields = [headers.with_name("Content-Type", media_type, filename)]
    else:
        fields = [headers.raw("Content-Type", media_type)]
    fields.append(f"Content-Transfer-Encoding: {encoding}")
    if described.disposition and filename:
        fields.append(headers.with_filename("Content-Disposition", described.disposition, filename))
    elif described.disposition:
        fields.append(headers.raw("Content-Disposition", described.disposition))
    if described.content_id is not None:
        fields.append(headers.raw("Content-ID", f"<{described.content_id}>"))
    fields += [headers.user_defined(name, value) for name, value in described.headers]
    return Entity(_lines(fields), body)


def multipart(subtype: str, parts: Sequence[Entity], seed: str) -> Entity:
    """The parts as one `multipart/<subtype>`, a single part as itself.

    The boundary follows from `seed` alone, so the same mail written twice has the same bytes; it is changed as long
    as it occurs in a part.
    """
    if len(parts) == 1:
        return parts[0]
    blocks = [f"{part.headers}\r\n".encode() + part.body for part in parts]
    boundary = _boundary(subtype, blocks, seed)
    delimiter = f"\r\n--{boundary}".encode()
    body = b"".join([delimiter[2:], b"\r\n", (delimiter + b"\r\n").join(blocks), delimiter, b"--\r\n"])
    # RFC 2387 wants the root's type named; the HTML page is the root of everything related that is sent here.
    root = ' type="text/html";' if subtype == "related" else ""
    return Entity(f'Content-Type: multipart/{subtype};{root}\r\n boundary="{boundary}"\r\n', body)


def message(fields: Sequence[str], root: Entity) -> bytes:
    """The whole message: the given header fields, the root part's headers, its body, a line end at the end."""
    head = _lines([*fields, "MIME-Version: 1.0"]) + root.headers
    end = b"" if root.body.endswith(b"\r\n") else b"\r\n"
    return b"".join([head.encode(), b"\r\n", root.body, end])


def _with_line_feeds(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _encoded_text(data: bytes) -> tuple[str, bytes]:
    """The transfer encoding's name and the encoded body of text with LF line ends."""
    if _PLAIN_LINES.fullmatch(data):
        return "7bit", data.replace(b"\n", b"\r\n")
    quoted = binascii.b2a_qp(data, istext=True)
    if len(quoted) > len(data) * 1.4:  # base64 with its line ends takes 1.37
        return "base64", _base64(data.replace(b"\n", b"\r\n"))
    return "quoted-printable", quoted.replace(b"\n", b"\r\n")


def _base64(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[start : start + 76] for start in range(0, len(encoded), 76)])


def _boundary(subtype: str, blocks: Sequence[bytes], seed: str) -> str:
    """A delimiter that is in no part, nor a beginning of a nested one: those have another subtype in their name.

    It starts with `=_`, which neither base64 nor quoted-printable can produce (RFC 2045 section 6.7).
    """
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{seed}/{attempt}".encode("utf-8", "replace")).hexdigest()
        boundary = f"=_{subtype}_{digest[:32]}"
        if not any(boundary.encode() in block for block in blocks):
            return boundary
        attempt += 1


def _lines(fields: Sequence[str]) -> str:
    return "".join([f"{field}\r\n" for field in fields])

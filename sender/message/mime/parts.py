"""MIME entities (RFC 2045, 2046, 2387): encodes bodies and assembles them into a message.

All output has CRLF line ends, no bare CR or LF, and no line of more than 998 bytes.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sender.message.mime import headers

# Text that needs no encoding: printable ASCII and tabs in lines of at most 78 (RFC 5322 recommends 78, and allows 998).
# Possessive: otherwise the matcher keeps 150 bytes for each line, in case it has to go back.
_PLAIN_LINES = re.compile(rb"(?:[\t -~]{0,78}+\n)*+[\t -~]{0,78}+")
# Nested messages must not be encoded (RFC 2046 section 5.2.1), so only the hard limit applies to their lines.
_PLAIN_MESSAGE = re.compile(rb"(?:[\t -~]{0,998}+\r\n)*+[\t -~]{0,998}+")
#: A media type with a `name` parameter.
_NAMED = re.compile(r";[ \t]*name(?:\*[0-9*]*)?=", re.IGNORECASE)

# Bytes that quoted-printable leaves as they are.
_QP_SAFE = bytes(byte for byte in range(256) if byte in b"\t\n" or (0x20 <= byte < 0x7F and byte != 0x3D))
#: Encoded to base64 at a time: bytes that make whole lines.
_BASE64_PIECE = 57 * 1024


@dataclass(frozen=True, slots=True)
class Entity:
    """A part or a tree of parts: content headers (each ending in CRLF) and the encoded body, in pieces.

    The pieces of all parts are joined once, by `message`: each copy of a large file would count against the memory.
    """

    headers: str
    body: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file to encode: `media_type` may have parameters, `disposition` has none.

    Without a disposition, the file name is omitted.
    """

    content: bytes
    media_type: str
    disposition: str | None
    filename: str | None
    content_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def text(subtype: str, content: str) -> Entity:
    """A `text/<subtype>` part in UTF-8; all line ends become CRLF, lone surrogates question marks.

    The transfer encoding is 7bit for plain ASCII with short lines, otherwise quoted-printable or base64, whichever is
    shorter.
    """
    encoding, body = _encoded_text(_with_line_feeds(content.encode("utf-8", "replace")))
    return Entity(f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n", (body,))


def file(attachment: File) -> Entity:
    """An attachment in base64. `message/…` is sent unencoded with CRLF line ends if possible, otherwise as binary."""
    media_type, content = attachment.media_type, attachment.content
    if media_type.lower().startswith("message/"):
        lines = with_crlf(content)
        if _PLAIN_MESSAGE.fullmatch(lines):
            return _part(attachment, media_type, "7bit", lines)
    if media_type.lower().startswith(("message/", "multipart/")):
        media_type = "application/octet-stream"
    return _part(attachment, media_type, "base64", _base64(content))


def version(alternative: File) -> Entity:
    """An alternative version of the text; `text/…` is encoded as in `text`, any other type as in `file`."""
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
    return Entity(_lines(fields), (body,))


def multipart(subtype: str, parts: Sequence[Entity], seed: str) -> Entity:
    """Combine the parts into one `multipart/<subtype>`; a single part is returned unchanged.

    The boundary is derived from `seed`, so encoding the same mail again gives the same bytes. It is varied until it
    occurs in no part.
    """
    if len(parts) == 1:
        return parts[0]
    boundary = _boundary(subtype, parts, seed)
    delimiter = f"\r\n--{boundary}".encode()
    body = [delimiter[2:]]
    for part in parts:
        body += [f"\r\n{part.headers}\r\n".encode(), *part.body, delimiter]
    body.append(b"--\r\n")
    # RFC 2387 requires the root's type, which is always the HTML page here.
    root = ' type="text/html";' if subtype == "related" else ""
    return Entity(f'Content-Type: multipart/{subtype};{root}\r\n boundary="{boundary}"\r\n', tuple(body))


def message(fields: Sequence[str], root: Entity) -> bytes:
    """The complete message: the given header fields, then the headers and body of the root part, ending in CRLF."""
    return b"".join(pieces(fields, root))


def pieces(fields: Sequence[str], root: Entity) -> Sequence[bytes]:
    """The pieces of which `message` consists."""
    head = _lines([*fields, "MIME-Version: 1.0"]) + root.headers
    end = b"" if root.body[-1].endswith(b"\r\n") else b"\r\n"
    return [head.encode(), b"\r\n", *root.body, end]


def _with_line_feeds(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def with_crlf(data: bytes) -> bytes:
    """The data with CRLF line ends; not copied if it has no others."""
    ends = data.count(b"\r\n")
    if data.count(b"\r") == ends and data.count(b"\n") == ends:
        return data
    return _with_line_feeds(data).replace(b"\n", b"\r\n")


def _encoded_text(data: bytes) -> tuple[str, bytes]:
    """The transfer encoding's name and the encoded body of text with LF line ends."""
    if _PLAIN_LINES.fullmatch(data):
        return "7bit", data.replace(b"\n", b"\r\n")
    # Quoted-printable takes three bytes for each that it encodes; base64 with its line ends takes 1.37.
    if 2 * len(data.translate(None, delete=_QP_SAFE)) > len(data) * 0.4:
        return "base64", _base64(data.replace(b"\n", b"\r\n"))
    return "quoted-printable", binascii.b2a_qp(data, istext=True).replace(b"\n", b"\r\n")


def _base64(data: bytes) -> bytes:
    """Lines of 76 characters. Encoded piece by piece: a list of all lines would take twice the memory of the data."""
    encoded = io.BytesIO()  # which gives its content away without copying it
    for start in range(0, len(data), _BASE64_PIECE):
        piece = binascii.b2a_base64(data[start : start + _BASE64_PIECE], newline=False)
        encoded.write(b"".join([piece[at : at + 76] + b"\r\n" for at in range(0, len(piece), 76)]))
    encoded.truncate(max(0, encoded.tell() - 2))
    return encoded.getvalue()


def _boundary(subtype: str, parts: Sequence[Entity], seed: str) -> str:
    """A boundary that occurs in no part and, because it contains the subtype, is no prefix of a nested boundary.

    It starts with `=_`, which neither base64 nor quoted-printable can produce (RFC 2045 section 6.7).
    """
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{seed}/{attempt}".encode("utf-8", "replace")).hexdigest()
        boundary = f"=_{subtype}_{digest[:32]}"
        if not any(boundary.encode() in piece for part in parts for piece in part.body):
            return boundary
        attempt += 1


def _lines(fields: Sequence[str]) -> str:
    return "".join([f"{field}\r\n" for field in fields])

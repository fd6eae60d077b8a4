"""Decodes content given as text: in one of Node's encodings, or in a `data:` URL."""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

from sender.document.attachments import is_media_type

_NAMED = re.compile(r";[ \t]*(?:file)?name\*?=", re.IGNORECASE)
_BASE64 = re.compile(r";[ \t]*base64[ \t]*(?:;|\Z)", re.IGNORECASE)
_BASE64_DATA = re.compile(r";[ \t]*base64[ \t]*,", re.IGNORECASE)
#: The longest media type with its parameters, in characters.
_MAX_META = 1_000
_PIECE_BYTES = 64 * 1024


def decode(text: str, encoding: str) -> bytes:
    """Decode text like Node's `Buffer.from(text, encoding)`.

    Raises `LookupError` for an encoding that Node doesn't know, and `ValueError` for invalid text, of which Node would
    silently drop parts.
    """
    match plain_name(encoding):
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


def plain_name(encoding: str) -> str:
    """An encoding's name normalised as in nodemailer: `UTF-8` becomes `utf8`."""
    return re.sub(r"[-_\s]", "", encoding.lower())


def decode_data_url(url: str) -> tuple[str, bytes]:
    """The media type and content of a `data:` URL (RFC 2397).

    Raises `LookupError` if the URL is malformed, and `ValueError` if its data should be base64 and is not.
    """
    meta, comma, data = _split(url.partition(":")[2])
    media_type, *parameters = [each.strip() for each in meta.split(";")]
    # `;base64` and nodemailer's `;utf8` are encodings, and no part of the type.
    is_base64 = "base64" in map(str.lower, parameters)
    parameters = [each for each in parameters if is_media_type(f"a/b;{each}") and "=" in each]
    if not media_type:
        media_type, parameters = "text/plain", parameters or ["charset=US-ASCII"]  # RFC 2397 section 2
    media_type = ";".join([media_type, *parameters])
    if not comma or not is_media_type(media_type):
        raise LookupError("data:")
    content = _percent_decoded(data.encode("utf-8", "replace"))
    return media_type, _decode_base64(content.decode("latin-1")) if is_base64 else content


def _split(text: str) -> tuple[str, str, str]:
    """What precedes the data, the comma, and the data. jsPDF doesn't quote the comma of a file name before it."""
    meta, comma, data = text.partition(",")
    if _NAMED.search(meta) and not _BASE64.search(meta):
        named = _BASE64_DATA.search(text, 0, _MAX_META)
        if named:
            return text[: named.end() - 1], ",", text[named.end() :]
    return meta, comma, data


def _percent_decoded(data: bytes) -> bytes:
    """Decode `%41` to `A`, piece by piece: the library makes a list of all parts, at 75 times the size of the data."""
    content, start = bytearray(), 0
    while start < len(data):
        end = start + _PIECE_BYTES
        cut = data.rfind(b"%", end - 2, end)  # a code is not torn apart
        end = cut if start < cut and end < len(data) else end
        content += unquote_to_bytes(data[start:end])
        start = end
    return bytes(content)


def _decode_base64(text: str) -> bytes:
    """Decode base64 in either alphabet, with or without padding, with white space anywhere. Raises `ValueError`."""
    text = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)

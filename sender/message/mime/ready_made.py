"""Validates a MIME part given by the application, which is then sent unchanged."""

from __future__ import annotations

import re

from sender.message.mime.headers import MAX_LINE
from sender.message.mime.parts import Entity, with_crlf

# Other header fields have no meaning in a part (RFC 2046 section 5.1), but would have one in the message's header.
_FIELD = re.compile(rb"(Content-[!-9;-~]+|X-[!-9;-~]+):[\t -~]*+(?:\r\n[ \t][\t -~]*+)*+", re.IGNORECASE)
_NEXT_FIELD = re.compile(rb"\r\n(?![ \t])")
_PLAIN = re.compile(rb"[\t\r\n -~]*")
_LINES = re.compile(rb"(?:[^\r\n]{0,%d}+\r\n)*+[^\r\n]{0,%d}+" % (MAX_LINE, MAX_LINE))


class NotMime(ValueError):
    """The part would corrupt the message. `found` and `expected` complete the error about the document's field."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected


def ready_made(data: bytes) -> Entity:
    """Split `data` into header fields and body at the empty line; all line ends become CRLF.

    Raises `NotMime` for content that can't be transferred (RFC 5322 section 2.1.1, RFC 2045 section 2.7), and for
    headers that don't belong in a part.
    """
    data = with_crlf(data)
    if not _PLAIN.fullmatch(data):
        raise NotMime("bytes outside ASCII or control characters", "a MIME part in quoted-printable or base64")
    if not _LINES.fullmatch(data):
        raise NotMime("a longer one", f"lines of up to {MAX_LINE} bytes")
    head, end, body = (b"", b"\r\n", data[2:]) if data.startswith(b"\r\n") else data.partition(b"\r\n\r\n")
    if not end:
        raise NotMime("none", "an empty line between the part's headers and its body")
    fields = _NEXT_FIELD.split(head) if head else []
    names = [found[1].lower() for field in fields if (found := _FIELD.fullmatch(field))]
    if len(names) < len(fields):
        raise NotMime("another one", "headers whose names begin with 'Content-' or 'X-'")
    if len(set(names)) < len(names):
        raise NotMime("a second one", "each header once")
    return Entity("".join(f"{field.decode()}\r\n" for field in fields), (body,))

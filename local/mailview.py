"""The visible parts of a mail: its headers, texts and attachments. Pure: bytes in, values out."""

from __future__ import annotations

import email
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage

_CID = re.compile(r"\bcid:([^\"'\s)>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not one of the two bodies; `content_id` has no angle brackets, and is empty if missing."""

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


def parse_mail(data: bytes) -> MailView:
    """Parse a mail leniently: malformed parts are shown as they are and never raise an error."""
    message = email.message_from_bytes(data, policy=policy.SMTPUTF8)
    texts: dict[str, str] = {}
    attachments: list[Attachment] = []
    for part in (part for part in message.walk() if not part.is_multipart()):
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and kind not in texts and not part.is_attachment():
            texts[kind] = _decoded(part)
        else:
            attachments.append(_attachment(part, len(attachments) + 1))
    return MailView(_headers(message), texts.get("text/plain"), texts.get("text/html"), tuple(attachments))


def with_inline_images(html: str, url_by_content_id: Mapping[str, str]) -> str:
    """`html` with each `cid:` reference (RFC 2392) to a known part replaced by that part's URL."""
    return _CID.sub(lambda found: url_by_content_id.get(found[1], found[0]), html)


def _headers(message: EmailMessage) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in message.items())


def _attachment(part: EmailMessage, number: int) -> Attachment:
    return Attachment(
        name=part.get_filename() or f"part-{number}",
        type=part.get_content_type(),
        content_id=str(part.get("Content-ID", "")).strip().removeprefix("<").removesuffix(">"),
        content=_content(part),
    )


def _content(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _decoded(part: EmailMessage) -> str:
    content = _content(part)
    try:
        return content.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:  # a charset unknown to Python
        return content.decode("utf-8", "replace")

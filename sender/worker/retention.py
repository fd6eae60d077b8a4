"""What stays in the document after a mail is sent: its text as it went out, or nothing private. Pure.

Both are off unless asked for (STORE_RENDERED, REDACT_AFTER_SUCCESS), and exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sender.document.document import Message
from sender.message.compose import Mail
from shared.delivery.model import DELETE, Changes

#: A document holds 1 MiB; the application's own fields and their indexes need most of it.
MAX_RENDERED_BYTES = 256 * 1024

# By map: what of a mail is for its recipients' eyes. Recipients and subject stay: they are how one finds it again.
_PRIVATE: Mapping[str, tuple[str, ...]] = {
    "message": ("text", "html", "amp", "attachments", "alternatives", "icalEvent"),
    "template": ("data",),
    "sendGrid": ("dynamicTemplateData",),
    "delivery": ("rendered",),
}


#: What is kept of a mail that has been sent for good: from the document's fields and the mail, the changes to make.
Retain = Callable[[Mapping[str, Any], Mail], Changes]


def retain_all(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """Neither: the application's fields are left alone."""
    return {}


def retain_rendered(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """STORE_RENDERED."""
    return rendered(mail.message) if mail.message else {}


def retain_nothing_private(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """REDACT_AFTER_SUCCESS."""
    return redacted(fields)


def rendered(message: Message, limit: int = MAX_RENDERED_BYTES) -> Changes:
    """The changes that store the texts of a mail as it was sent, in `delivery.rendered`.

    Texts are kept whole, in the order of their use to a reader, as long as all fit into `limit` bytes of UTF-8;
    `omitted` names the others.
    """
    texts = {"subject": message.subject, "text": message.text, "html": message.html, "amp": message.amp}
    kept: dict[str, Any] = {}
    omitted: list[str] = []
    for name, text in texts.items():
        if not text:
            continue
        size = len(text.encode("utf-8", "replace"))
        if size <= limit:
            kept[name] = text
            limit -= size
        else:
            omitted.append(name)
    return {"delivery.rendered": {**kept, "omitted": omitted} if omitted else kept}


def redacted(fields: Mapping[str, Any]) -> Changes:
    """The changes that take everything private out of a decoded document; `delivery.redacted` says that it was there.

    Written with the result that concludes the mail for good, never before: an attempt that is to follow needs it all.
    """
    private = list(_private(fields))
    return dict.fromkeys(private, DELETE) | {"delivery.redacted": True} if private else {}


def _private(fields: Mapping[str, Any]) -> Iterable[str]:
    for name, private in _PRIVATE.items():
        value = fields.get(name)
        if isinstance(value, Mapping):
            yield from (f"{name}.{field}" for field in private if field in value)

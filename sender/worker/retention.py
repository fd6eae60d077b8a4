"""Decides what stays in the document after a mail is sent. Pure functions.

STORE_RENDERED adds the rendered texts, REDACT_AFTER_SUCCESS removes private content. Both are off by default and
mutually exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sender.document.document import Message
from sender.message.compose import Mail
from shared.delivery.model import DELETE, Changes

#: Firestore allows 1 MiB per document. Most of it is left to the application's own fields and their indexes.
MAX_RENDERED_BYTES = 256 * 1024

# Private fields by map. Recipients and subject stay, so that the mail can still be found.
_PRIVATE: Mapping[str, tuple[str, ...]] = {
    "message": ("text", "html", "amp", "attachments", "alternatives", "icalEvent"),
    "template": ("data",),
    "sendGrid": ("dynamicTemplateData",),
    "delivery": ("rendered",),
}


#: Takes the fields of a document and the mail that was sent; returns the changes to write with the final result.
Retain = Callable[[Mapping[str, Any], Mail], Changes]


def retain_all(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """The default: no changes."""
    return {}


def retain_rendered(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """STORE_RENDERED: store the rendered texts."""
    return rendered(mail.message) if mail.message else {}


def retain_nothing_private(fields: Mapping[str, Any], mail: Mail) -> Changes:
    """REDACT_AFTER_SUCCESS: delete private content."""
    return redacted(fields)


def rendered(message: Message, limit: int = MAX_RENDERED_BYTES) -> Changes:
    """The changes that store the texts of a mail in `delivery.rendered`, as they were sent.

    Texts are stored in the order subject, text, html, amp. One that does not fit into what is left of `limit` (bytes of
    UTF-8) is left out as a whole, and `omitted` names it.
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
    """The changes that delete private fields from a document and set `delivery.redacted`; none if there are none.

    Only for the final result: a retry still needs the content.
    """
    private = list(_private(fields))
    return dict.fromkeys(private, DELETE) | {"delivery.redacted": True} if private else {}


def _private(fields: Mapping[str, Any]) -> Iterable[str]:
    for name, private in _PRIVATE.items():
        value = fields.get(name)
        if isinstance(value, Mapping):
            yield from (f"{name}.{field}" for field in private if field in value)

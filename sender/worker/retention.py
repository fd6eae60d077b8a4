"""Decides what stays in the document after a mail is sent. Pure functions.

STORE_RENDERED adds the rendered texts, REDACT_AFTER_SUCCESS removes private content. Both are off by default and
mutually exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sender.document.document import Message
from shared.delivery.model import DELETE, Changes

#: Firestore allows 1 MiB per document. Most of it is left to the application's own fields and their indexes.
MAX_RENDERED_BYTES = 256 * 1024

#: What redaction keeps of each map that describes the mail: enough to find the mail and to see how it was made. All
#: else goes, also fields that Firepost does not know, because what they hold can't be known either.
_KEPT: Final[Mapping[str, frozenset[str]]] = {
    "message": frozenset({"subject", "messageId"}),
    "template": frozenset({"name"}),
    "sendGrid": frozenset({"templateId", "ipPoolName"}),
}
#: Other fields with private content. The application's own fields beside them are not Firepost's to delete.
_DELETED: Final = ("headers", "listUnsubscribe")


#: Takes the fields of a document whose mail was sent, and the message as it was composed in this attempt, if it was;
#: returns the changes to write with the final result.
Retain = Callable[[Mapping[str, Any], Message | None], Changes]


def retain_all(fields: Mapping[str, Any], message: Message | None) -> Changes:
    """The default: no changes."""
    return {}


def retain_rendered(fields: Mapping[str, Any], message: Message | None) -> Changes:
    """STORE_RENDERED: store the rendered texts."""
    return rendered(message) if message else {}


def retain_nothing_private(fields: Mapping[str, Any], message: Message | None) -> Changes:
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
    """The changes that remove private content from a document and set `delivery.redacted`; none if there is none.

    Recipients, sender and subject stay. A map is replaced as a whole by what stays of it, because a name of any form
    may occur in it. Only for the final result: a retry still needs the content.
    """
    changes: dict[str, Any] = {}
    for name, names in _KEPT.items():
        value = fields.get(name)
        kept = _strings(value, names)
        if value is not None and value != kept:
            changes[name] = kept or DELETE
    changes |= {name: DELETE for name in _DELETED if name in fields}
    delivery = fields.get("delivery")
    earlier = delivery if isinstance(delivery, Mapping) else {}
    if "rendered" in earlier:
        changes["delivery.rendered"] = DELETE
    has_words = bool(earlier.get("history"))  # of mail servers: `delivery.redacted` keeps them out of the new history
    return changes | {"delivery.redacted": True} if changes or has_words else {}


def _strings(value: object, names: frozenset[str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {name: kept for name in sorted(names) if isinstance(kept := value.get(name), str)}

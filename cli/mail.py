"""A mail document as operators see it: its path and its `delivery`, never the content of the mail. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.delivery.model import FINAL, Delivery


@dataclass(frozen=True, slots=True)
class Mail:
    """One document; `path` is relative to the database, `delivery` decoded or None, `version` its update time."""

    path: str
    delivery: Mapping[str, Any] | None
    created: datetime
    version: Any

    @property
    def state(self) -> str:
        """The value of `delivery.state`, even if unknown to Firepost; empty if there is none."""
        return str((self.delivery or {}).get("state", ""))

    @property
    def error_code(self) -> str:
        """The value of `delivery.errorCode`; empty if there is none, as in the extension's documents."""
        return str((self.delivery or {}).get("errorCode") or "")

    @property
    def ended(self) -> bool:
        """Whether the mail is in a final state."""
        return self.state in FINAL

    def moved(self) -> datetime:
        """When it was last concluded or, before that, queued; when it was written if neither is known."""
        delivery = Delivery.of(self.delivery)
        return max((time for time in (delivery.start_time, delivery.end_time) if time), default=self.created)


def own_path(text: str, collection: str) -> str:
    """The path of the document `mail/abc` or `abc`. Raises `ValueError` if it is not in `collection`."""
    parent, slash, identifier = text.rpartition("/")
    if not identifier or (slash and parent != collection):
        raise ValueError(f"{text!r} is not a document in the collection '{collection}' (see --collection)")
    return f"{collection}/{identifier}"

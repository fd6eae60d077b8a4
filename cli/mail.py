"""A mail document as operators see it: where it is and what `delivery` says, never what is in the mail. Pure."""

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
        """What stands in `delivery.state`, known to Firepost or not; empty when there is nothing."""
        return str((self.delivery or {}).get("state", ""))

    @property
    def error_code(self) -> str:
        """What stands in `delivery.errorCode`; empty when there is nothing, as in the extension's documents."""
        return str((self.delivery or {}).get("errorCode") or "")

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it unless somebody asks for it."""
        return self.state in FINAL

    def moved(self) -> datetime:
        """When it was last concluded or, before that, queued; when it was written if neither is known."""
        delivery = Delivery.of(self.delivery)
        return max((time for time in (delivery.start_time, delivery.end_time) if time), default=self.created)


def own_path(text: str, collection: str) -> str:
    """The path of the document that `mail/abc` or `abc` means. Raises `ValueError` for one outside of `collection`."""
    parent, slash, identifier = text.rpartition("/")
    if not identifier or (slash and parent != collection):
        raise ValueError(f"{text!r} is not a document in the collection '{collection}' (see --collection)")
    return f"{collection}/{identifier}"

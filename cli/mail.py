"""A mail document as operators see it: its path and the fields that a command needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.delivery.lanes import LANE
from shared.delivery.model import AT_REST, Delivery, DocumentState, State

#: The outcomes of recipients for whom the mail server did not take the mail.
NOT_ACCEPTED = ("rejected", "pending")


@dataclass(frozen=True, slots=True)
class Mail:
    """One document; `path` is relative to the database, `version` its update time.

    `fields` are the decoded fields that were asked for. Only `delivery` and `lane` are ever shown.
    """

    path: str
    fields: Mapping[str, Any]
    created: datetime
    version: Any

    @property
    def delivery(self) -> Mapping[str, Any] | None:
        """The field `delivery`; None if there is none, or it is not a map."""
        delivery = self.fields.get("delivery")
        return delivery if isinstance(delivery, Mapping) else None

    @property
    def lane(self) -> str | None:
        """The lane that the document names; None if it names none."""
        lane = self.fields.get(LANE)
        return lane if isinstance(lane, str) else None

    @property
    def info(self) -> Mapping[str, Any]:
        """The map `delivery.info`; empty if there is none."""
        info = (self.delivery or {}).get("info")
        return info if isinstance(info, Mapping) else {}

    @property
    def is_new(self) -> bool:
        """Whether Firepost takes it for a mail that has never been queued: it has no delivery."""
        return DocumentState.of(self.fields).delivery is None

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
        """Whether the mail is in a final state: nothing follows unless somebody asks for it."""
        return self.state in AT_REST

    @property
    def is_partial(self) -> bool:
        """Whether it is in SUCCESS, but the server rejected or put off some recipients."""
        return self.state == State.SUCCESS and any(self.recipients(name) for name in NOT_ACCEPTED)

    def recipients(self, outcome: str) -> list[Any]:
        """The recipients in `delivery.info` with an outcome: `accepted`, `rejected`, `pending` or `withheld`."""
        found = self.info.get(outcome)
        return found if isinstance(found, list) else []

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

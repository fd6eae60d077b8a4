"""What the dispatcher does about a document's change: decide, publish, then write. It never reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from dispatcher.events import DocumentChange
from shared import message
from shared.database import Unwritable
from shared.delivery import on_event
from shared.policy import Policy
from shared.pubsub import Publisher
from shared.states import Reason
from shared.store import MailStore

_log = logging.getLogger("firepost.dispatcher")


class Dispatcher:
    """Turns document changes into messages."""

    def __init__(self, store: MailStore, publisher: Publisher, policy: Policy, clock: Callable[[], datetime]) -> None:
        """`clock` tells the time in UTC."""
        self._store = store
        self._publisher = publisher
        self._policy = policy
        self._clock = clock

    def handle(self, change: DocumentChange) -> Reason:
        """Do what the change calls for, and say why.

        Publishing comes first: a crash before the write repeats the event, and a second message is harmless because
        a claim is exclusive. The other order could leave a document PENDING that no message carries. Raises
        `Unavailable` when the event should be repeated.
        """
        decision = on_event(change.old, change.new, self._clock(), self._policy)
        if decision.publish:
            self._publisher.publish(*message.encode(change.path, decision.reason))
        written = None
        if decision.write is not None:
            try:
                written = self._store.mark(change.path, decision.write, change.version)
            except Unwritable as error:
                _log.error("The document can't be written to: %s", error, extra={"fields": {"document": change.path}})
        self._report(change, decision.reason, decision.publish, written)
        return decision.reason

    def _report(self, change: DocumentChange, reason: Reason, published: bool, written: bool | None) -> None:
        before, after = (
            known.delivery.state if known and known.delivery else None for known in (change.old, change.new)
        )
        fields: dict[str, object] = {"document": change.path, "reason": reason, "before": before, "after": after}
        if published or written is not None:
            fields |= {"published": published, "written": written}
        level = logging.WARNING if reason is Reason.UNKNOWN_STATE else logging.INFO
        _log.log(level, "event %s", reason, extra={"fields": fields})

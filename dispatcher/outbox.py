"""The effects of decisions about documents: a message, then a write; those of concurrent events together.

Publishing comes first: a crash before the write repeats the event, and a second message is harmless because a claim is
exclusive. The other order could leave a document PENDING that no message carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.batcher import Batcher, Batching
from shared.delivery.model import Changes, Decision
from shared.delivery.store import MailStore
from shared.errors import FirepostError
from shared.firestore.database import Version, Write
from shared.observability import tracing
from shared.pubsub import message
from shared.pubsub.publisher import BulkPublisher, Message


@dataclass(frozen=True, slots=True)
class Effect:
    """A message to publish for a document, and changes to write if it still has this version, if there are any."""

    path: str
    version: Version
    message: Message | None
    changes: Changes | None

    @classmethod
    def of(cls, decision: Decision, path: str, version: Version) -> Effect:
        """What was decided about the document at this version; the message belongs to the trace of the work at hand."""
        published = None
        if decision.publish:
            data, attributes = message.encode(path, decision.reason)
            published = data, attributes | tracing.attributes()
        return cls(path, version, published, decision.write)


class Outbox:
    """Executes effects; called by many threads."""

    def __init__(self, publisher: BulkPublisher, store: MailStore, batching: Batching) -> None:
        self._publisher = publisher
        self._store = store
        self._batcher: Batcher[Effect, bool | None] = Batcher(self._execute, batching)

    def execute(self, effect: Effect) -> bool | None:
        """True if it wrote, False if the document has changed since, None if there was nothing to write.

        Raises `Unavailable` when the event should be repeated, and `Unwritable` (after publishing).
        """
        return self._batcher.submit(effect, key=effect.path)

    def _execute(self, effects: Sequence[Effect]) -> Sequence[bool | FirepostError | None]:
        """The outcomes in the order of the effects: one request publishes, and one writes."""
        failed = self._publish(effects)
        writes = [
            Write(effect.path, effect.changes, effect.version)
            for effect in effects
            if effect.changes is not None and effect.path not in failed
        ]
        marked = dict(zip((write.path for write in writes), self._store.mark(writes), strict=True))
        return [failed.get(effect.path) or marked.get(effect.path) for effect in effects]

    def _publish(self, effects: Sequence[Effect]) -> dict[str, FirepostError]:
        """What went wrong, by path."""
        messages = {effect.path: effect.message for effect in effects if effect.message is not None}
        if not messages:
            return {}
        answers = self._publisher.publish_all([*messages.values()])
        return {
            path: answer for path, answer in zip(messages, answers, strict=True) if isinstance(answer, FirepostError)
        }

"""Executes decisions about documents: first the message, then the write. Concurrent events share requests.

Publishing comes first: after a crash before the write, the event is delivered again, and a second message is harmless
because a claim is exclusive. The other order could leave a PENDING document without a message.
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
    """A message to publish for a document, and changes (if any) to write if it still has this version."""

    path: str
    version: Version
    message: Message | None
    changes: Changes | None

    @classmethod
    def of(cls, decision: Decision, path: str, version: Version) -> Effect:
        """The effect of a decision about the document at this version; its message belongs to the current trace."""
        published = None
        if decision.publish:
            data, attributes = message.encode(path, decision.reason)
            published = data, attributes | tracing.attributes()
        return cls(path, version, published, decision.write)


class Outbox:
    """Executes effects; thread-safe."""

    def __init__(self, publisher: BulkPublisher, store: MailStore, batching: Batching) -> None:
        self._publisher = publisher
        self._store = store
        self._batcher: Batcher[Effect, bool | None] = Batcher(self.execute_all, batching)

    def execute(self, effect: Effect) -> bool | None:
        """True if it wrote, False if the document has changed since, None if there was nothing to write.

        Raises `Unavailable` if the event should be delivered again, and `Unwritable` (after publishing).
        """
        return self._batcher.submit(effect, key=effect.path)

    def execute_all(self, effects: Sequence[Effect]) -> Sequence[bool | FirepostError | None]:
        """Execute effects on different documents; returns what `execute` returns or raises, in their order.

        All messages are published before the first document is marked, each in as few requests as the services take.
        """
        failed = self._publish(effects)
        writes = [
            Write(effect.path, effect.changes, effect.version)
            for effect in effects
            if effect.changes is not None and effect.path not in failed
        ]
        marked = dict(zip((write.path for write in writes), self._store.mark(writes), strict=True))
        return [failed.get(effect.path) or marked.get(effect.path) for effect in effects]

    def _publish(self, effects: Sequence[Effect]) -> dict[str, FirepostError]:
        """Publish the messages; returns the errors by path."""
        messages = {effect.path: effect.message for effect in effects if effect.message is not None}
        if not messages:
            return {}
        answers = self._publisher.publish_all([*messages.values()])
        return {
            path: answer for path, answer in zip(messages, answers, strict=True) if isinstance(answer, FirepostError)
        }

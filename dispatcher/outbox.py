"""Executes decisions about documents: first the message, then the write. Concurrent events share requests.

Publishing comes first: after a crash before the write, the event is delivered again, and a second message is harmless
because a claim is exclusive. The other order could leave a PENDING document without a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.batcher import Batcher, Batching
from shared.delivery.machine import unpublishable
from shared.delivery.model import Changes, Decision
from shared.delivery.store import MailStore
from shared.errors import FirepostError
from shared.firestore.database import Version, Write
from shared.observability import tracing
from shared.pubsub import message
from shared.pubsub.publisher import BulkPublisher, Message, Unpublishable


@dataclass(frozen=True, slots=True)
class Effect:
    """A message to publish for a document, and changes (if any) to write if it still has this version.

    `if_refused` are the changes to write instead if Pub/Sub refuses the message for good.
    """

    path: str
    version: Version
    message: Message | None
    changes: Changes | None
    if_refused: Changes | None = None

    @classmethod
    def of(cls, decision: Decision, path: str, version: Version, now: datetime, lane: str) -> Effect:
        """The effect of a decision at `now` (UTC) about the document at this version.

        Its message belongs to the current trace, and to this lane (`Lanes.of`).
        """
        if not decision.publish:
            return cls(path, version, None, decision.write)
        data, attributes = message.encode(path, decision.reason, lane=lane)
        published = data, attributes | tracing.attributes()
        return cls(path, version, published, decision.write, unpublishable(decision, now))


@dataclass(frozen=True, slots=True)
class Executed:
    """An effect that is done.

    `written` is True if it wrote, False if the document has changed since, None if there was nothing to write.
    `marked_after` is the time from the message to the mark, in seconds; None if it was not both.
    """

    written: bool | None
    marked_after: float | None = None


class Outbox:
    """Executes effects; thread-safe."""

    def __init__(
        self,
        publisher: BulkPublisher,
        store: MailStore,
        batching: Batching,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`monotonic` returns seconds."""
        self._publisher = publisher
        self._store = store
        self._monotonic = monotonic
        self._batcher: Batcher[Effect, Executed] = Batcher(self.execute_all, batching)

    def execute(self, effect: Effect) -> Executed:
        """Publish, then write.

        Raises `Unavailable` if the event should be delivered again, `Unwritable` after publishing, and `Unpublishable`
        after writing that Pub/Sub refuses the message.
        """
        return self._batcher.submit(effect, key=effect.path)

    def execute_all(self, effects: Sequence[Effect]) -> Sequence[Executed | FirepostError]:
        """Execute effects on different documents; returns what `execute` returns or raises, in their order.

        All messages are published before the first document is marked, each in as few requests as the services take.
        """
        failed = self._publish(effects)
        published_at = self._monotonic()
        writes = [
            Write(effect.path, changes, effect.version)
            for effect in effects
            if (changes := _changes(effect, failed.get(effect.path))) is not None
        ]
        marked = dict(zip((write.path for write in writes), self._store.mark(writes), strict=True))
        marked_after = self._monotonic() - published_at
        return [
            _outcome(failed.get(effect.path), marked.get(effect.path), marked_after if effect.message else None)
            for effect in effects
        ]

    def _publish(self, effects: Sequence[Effect]) -> dict[str, FirepostError]:
        """Publish the messages; returns the errors by path."""
        messages = {effect.path: effect.message for effect in effects if effect.message is not None}
        if not messages:
            return {}
        answers = self._publisher.publish_all([*messages.values()])
        return {
            path: answer for path, answer in zip(messages, answers, strict=True) if isinstance(answer, FirepostError)
        }


def _changes(effect: Effect, failure: FirepostError | None) -> Changes | None:
    """What to write after publishing, or after its failure."""
    if isinstance(failure, Unpublishable):
        return effect.if_refused
    return effect.changes if failure is None else None


def _outcome(
    failure: FirepostError | None, marked: bool | FirepostError | None, marked_after: float | None
) -> Executed | FirepostError:
    """A refused message is reported only once its document says so."""
    if isinstance(marked, FirepostError):
        return marked
    return failure or Executed(marked, marked_after if marked is not None else None)

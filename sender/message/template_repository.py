"""The templates collection in Firestore: read on demand, cached for seconds, compiled once per version."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sender.message.templates import MailTemplate, StoredPartial, compile_mail_template
from shared.deadline import Monotonic
from shared.document_ids import is_document_id
from shared.firestore.database import Snapshot, Version

#: The time in seconds for which a cached template is used without a check for changes.
FRESH_SECONDS = 5.0
#: The number of cached templates; beyond that, the least recently used one is evicted.
CAPACITY = 500
#: The maximum number of partials; every refresh reads all of them.
MAX_PARTIALS = 1000


class TemplateDatabase(Protocol):
    """The Firestore operations for templates; both raise `Unavailable` if Firestore doesn't answer."""

    def get(self, path: str) -> Snapshot | None:
        """The document, or None if there is none."""
        ...

    def find(self, collection: str, field: str, value: Any, limit: int) -> list[Snapshot]:
        """The collection's documents whose field equals the value, ordered by id, at most `limit`."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    template: MailTemplate
    version: Version
    read_at: float


class FirestoreTemplates:
    """`Templates` in a Firestore collection; thread-safe.

    Edits and deletions take effect within `FRESH_SECONDS`. No lock is held during a request to Firestore, so two
    threads may read the same template concurrently. Missing and malformed templates are not cached.
    """

    def __init__(self, database: TemplateDatabase, collection: str, clock: Monotonic = time.monotonic) -> None:
        self.collection = collection
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._templates: OrderedDict[str, _Known] = OrderedDict()
        self._partials: dict[str, StoredPartial] = {}
        self._partials_read_at: float | None = None

    def get(self, name: str) -> MailTemplate | None:
        """The template with this document id, otherwise the first with this `name` field, as in Trigger Email."""
        now = self._clock()
        with self._lock:
            known = self._templates.get(name)
            if known:
                self._templates.move_to_end(name)
        if known and now - known.read_at < FRESH_SECONDS:
            return known.template
        snapshot = self._read(name)
        if snapshot is None:
            self._forget(name)
            return None
        unchanged = known and known.version == snapshot.version and known.template.path == snapshot.path
        template = known.template if known and unchanged else compile_mail_template(snapshot)
        self._remember(name, _Known(template, snapshot.version, now))
        return template

    def partials(self) -> Mapping[str, StoredPartial]:
        """The documents with `partial: true`, keyed by their ids and by their `name` fields."""
        now = self._clock()
        if self._partials_read_at is None or now - self._partials_read_at >= FRESH_SECONDS:
            found = self._database.find(self.collection, "partial", True, MAX_PARTIALS)
            with self._lock:
                self._partials = dict(_named(found, self._partials))
                self._partials_read_at = now
        return self._partials

    def _read(self, name: str) -> Snapshot | None:
        snapshot = self._database.get(f"{self.collection}/{name}") if is_document_id(name) else None
        return snapshot or next(iter(self._database.find(self.collection, "name", name, limit=1)), None)

    def _remember(self, name: str, known: _Known) -> None:
        with self._lock:
            self._templates[name] = known
            self._templates.move_to_end(name)
            while len(self._templates) > CAPACITY:
                self._templates.popitem(last=False)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._templates.pop(name, None)


def _named(snapshots: Iterable[Snapshot], known: Mapping[str, StoredPartial]) -> Iterable[tuple[str, StoredPartial]]:
    """Partials by id and by name; compiled partials of unchanged documents are reused."""
    by_name = []
    for snapshot in snapshots:
        identifier = snapshot.path.rpartition("/")[2]
        partial = known.get(identifier)
        if partial is None or not partial.is_of(snapshot):
            partial = StoredPartial(identifier, snapshot)
        yield identifier, partial
        if isinstance(name := snapshot.fields.get("name"), str):
            by_name.append((name, partial))
    yield from by_name  # last, so that a name overrides an equal id, as in Trigger Email

"""The templates collection in Firestore: read when needed, kept for seconds, compiled once for each version."""

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

#: How long a template is used without asking whether it has changed.
FRESH_SECONDS = 5.0
#: Templates kept compiled; beyond that, the one not used for longest goes.
CAPACITY = 500
#: Partials read at most; more would be read with every refresh.
MAX_PARTIALS = 1000


class TemplateDatabase(Protocol):
    """What is asked of Firestore; both methods raise `Unavailable` when it doesn't answer."""

    def get(self, path: str) -> Snapshot | None:
        """The document, or None if there is none."""
        ...

    def find(self, collection: str, field: str, value: Any, limit: int) -> list[Snapshot]:
        """Whole documents of the collection whose field equals the value, in the order of their ids."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    template: MailTemplate
    version: Version
    read_at: float


class FirestoreTemplates:
    """`Templates` over a Firestore collection; used by many threads.

    An edited template is used, a deleted one gone, within `FRESH_SECONDS`. Nothing is locked while Firestore is asked:
    two threads may ask the same at the same time. A template that isn't there, or is malformed, is not remembered.
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
        """The template whose document has this id, or else one whose field `name` says so, as in Trigger Email."""
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
        """The documents with `partial: true`, by their ids and by their fields `name`."""
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
    """Ids and names with their partials; those whose version is known already are taken over, compiled."""
    by_name = []
    for snapshot in snapshots:
        identifier = snapshot.path.rpartition("/")[2]
        partial = known.get(identifier)
        if partial is None or not partial.is_of(snapshot):
            partial = StoredPartial(identifier, snapshot)
        yield identifier, partial
        if isinstance(name := snapshot.fields.get("name"), str):
            by_name.append((name, partial))
    yield from by_name  # where a name is another one's id, the name counts, as in Trigger Email

"""In-memory adapters that behave like the real ones, for tests that need no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from shared.deadline import Deadline
from shared.delivery.model import DELETE, Changes, DocumentState, State
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Decide, Found, Page, Snapshot, Stale, Unwritable, Version, Write
from shared.firestore.values import decode_time, encode
from shared.pubsub.publisher import Message, Unpublishable

_T = TypeVar("_T")


class Clock:
    """A clock that only the test advances."""

    def __init__(self, now: datetime = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class MemoryPublisher:
    """A topic that records messages; it fails while `broken`, and refuses for good while `refusing`."""

    def __init__(self) -> None:
        self.published: list[tuple[bytes, dict[str, str]]] = []
        self.broken = False
        self.refusing = False

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        [answer] = self.publish_all([(data, attributes)])
        if isinstance(answer, Unavailable):
            raise answer

    def publish_all(self, messages: Sequence[Message]) -> Sequence[str | Unavailable]:
        return [self._take(*message) for message in messages]

    def _take(self, data: bytes, attributes: Mapping[str, str]) -> str | Unavailable:
        if self.broken:
            return Unavailable("the topic is broken")
        if self.refusing:
            return Unpublishable("the topic refuses it")
        self.published.append((data, dict(attributes)))
        return str(len(self.published))


class MemoryDatabase:
    """Firestore's conditional writes over a dict.

    `meanwhile` runs once, right before the next write, to simulate a concurrent change. The next `lose_answers` writes
    succeed but return `Unavailable`. A write that would make a document larger than `most_bytes` is `Unwritable`.
    `found` counts the documents that queries have read.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Snapshot] = {}
        self.found = 0
        self.meanwhile: Callable[[], object] | None = None
        self.lose_answers = 0
        self.most_bytes: int | None = None
        self.on_write: Callable[[str, Snapshot | None, Snapshot | None], object] = lambda path, old, new: None
        self._ticks = 0

    def get(self, path: str) -> Snapshot | None:
        return self.documents.get(path)

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        return [self.documents.get(path) for path in paths]

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        return [self._outcome(write) for write in writes]

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        document = self.documents.get(path)
        decision, changes = decide(document)
        if changes is None:
            return decision, document, None
        version = self._written(path, applied(document.fields if document else {}, changes))
        if isinstance(version, FirepostError):
            raise version
        return decision, document, version

    def in_states(self, collection: str, states: Sequence[State], limit: int, after: str | None) -> Page:
        start = f"{collection}/{after}" if after is not None else ""
        found = [path for path in self._paths(collection) if path > start and self._delivered(path, "state") in states]
        return Page(self._found(found[:limit]), is_last=len(found) < limit)

    def due(self, collection: str, now: datetime, limit: int, after: datetime | None = None) -> Iterator[list[Found]]:
        scheduled = [(self._delivered(path, "nextAttemptTime"), path) for path in self._paths(collection)]
        due = sorted(
            (time, path)
            for time, path in scheduled
            if isinstance(time, datetime) and time <= now and (after is None or time > after)
        )
        for start in range(0, len(due), limit):
            yield self._found([path for _, path in due[start : start + limit]])

    def _paths(self, collection: str) -> list[str]:
        return sorted(path for path in self.documents if path.rpartition("/")[0] == collection)

    def _delivered(self, path: str, name: str) -> object:
        delivery = self.documents[path].fields.get("delivery")
        return delivery.get(name) if isinstance(delivery, Mapping) else None

    def _found(self, paths: Sequence[str]) -> list[Found]:
        self.found += len(paths)
        documents = [self.documents[path] for path in paths if path in self.documents]
        return [
            Found(each.path, DocumentState.of(each.fields), decode_time(each.version), each.version)
            for each in documents
        ]

    def put(self, path: str, fields: dict[str, Any] | None) -> Version:
        """Write the document (or delete it, with None) without a precondition."""
        old = self.documents.get(path)
        self._ticks += 1
        version = Version(seconds=1_700_000_000 + self._ticks)
        if fields is None:
            self.documents.pop(path, None)
        else:
            self.documents[path] = Snapshot(path, fields, old.created if old else decode_time(version), version)
        self.on_write(path, old, self.documents.get(path))
        return version

    def edit(self, path: str, changes: Changes) -> Version:
        return self.put(path, applied(self.documents[path].fields, changes))

    def _outcome(self, write: Write) -> Version | FirepostError:
        self._interleave()
        document = self.documents.get(write.path)
        if write.version != (document.version if document else None):
            return Stale("changed" if document else "missing")
        fields = applied(document.fields, write.changes) if document else dict(write.changes)
        return self._written(write.path, fields)

    def _written(self, path: str, fields: dict[str, Any]) -> Version | FirepostError:
        try:
            size = encode(fields).ByteSize()
        except (TypeError, ValueError):
            return Unwritable("a value can't be stored")
        if self.most_bytes is not None and size > self.most_bytes:
            return Unwritable("the document is too large")
        return self._answer(self.put(path, fields))

    def _interleave(self) -> None:
        action, self.meanwhile = self.meanwhile, None
        if action is not None:
            action()

    def _answer(self, version: Version) -> Version | Unavailable:
        if self.lose_answers:
            self.lose_answers -= 1
            return Unavailable("the answer was lost")
        return version


def applied(fields: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """A document's fields after an update with these changes, by the rules of Firestore's field masks."""
    result, nested = dict(fields), dict[str, dict[str, Any]]()
    for path, value in changes.items():
        name, _, rest = path.partition(".")
        if rest:
            nested.setdefault(name, {})[rest] = value
        elif value is DELETE:
            result.pop(name, None)
        else:
            result[name] = value
    for name, inner in nested.items():
        parent = result.get(name)
        result[name] = applied(parent if isinstance(parent, Mapping) else {}, inner)
    return result


class MemoryTransport:
    """A mail server that accepts everything except the recipients in `refuse` and `defer`, or raises `fail`.

    `on_mail` is called with the recipients, when the mail is being handed over and is not accepted yet.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Envelope, bytes]] = []
        self.refuse: set[str] = set()
        self.defer: set[str] = set()
        self.fail: Exception | None = None
        self.on_mail: Callable[[tuple[str, ...]], object] = lambda recipients: None

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        begin()
        self.on_mail(envelope.recipients)
        if self.fail:
            raise self.fail
        self.sent.append((envelope, data))
        accepted = tuple(a for a in envelope.recipients if a not in self.refuse | self.defer)
        rejected = tuple(a for a in envelope.recipients if a in self.refuse)
        pending = tuple(a for a in envelope.recipients if a in self.defer)
        return Receipt(accepted, rejected, pending, "250 2.0.0 Ok: queued as 1")

    @property
    def most(self) -> int:
        return 1_000

    def capacity(self, waiting: int) -> int:
        return self.most

    def sent_to(self, recipient: str) -> int:
        return sum(recipient in envelope.recipients for envelope, _ in self.sent)

    def close(self) -> None:
        """Nothing to close."""


class TemplateDatabase(MemoryDatabase):
    """A database with the query that templates need; it records its requests."""

    def __init__(self, templates: dict[str, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.broken = False
        for name, fields in (templates or {}).items():
            self.put(f"templates/{name}", fields)

    def get(self, path: str) -> Snapshot | None:
        self._note(path)
        return self.documents.get(path)

    def find(self, collection: str, field: str, value: Any, limit: int) -> list[Snapshot]:
        self._note(f"{collection} where {field} == {value!r}")
        found = [
            document
            for path, document in sorted(self.documents.items())
            if path.rpartition("/")[0] == collection and document.fields.get(field) == value
        ]
        return found[:limit]

    def _note(self, request: str) -> None:
        if self.broken:
            raise Unavailable("Firestore is down")
        self.asked.append(request)

"""Listen: the current state of documents and queries, followed by every change, as `on_snapshot` needs it.

A new target is answered with its documents, CURRENT, and a change without target ids that closes a snapshot; each later
snapshot consists of some documents and such a closing change. Commits in quick succession become one snapshot.
https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#google.firestore.v1.ListenResponse
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

import grpc
from google.cloud.firestore_v1.types import TargetChange
from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.failure import Failure, invalid
from local.backends.embedded.firestore.documents import Change, Documents
from local.backends.embedded.firestore.names import check_document_name
from local.backends.embedded.firestore.protos import Document, ListenRequest, ListenResponse, Target
from local.backends.embedded.firestore.query import Query
from local.backends.embedded.firestore.store import Store

_Kind = TargetChange.TargetChangeType

#: A document's current state; None if the target does not (or no longer) contain it.
State = Mapping[str, Document | None]


class DocumentsTarget:
    """Some documents by name, whether or not they exist."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        for name in self._names:
            check_document_name(name)

    def initial(self, documents: Documents) -> State:
        """The target's initial documents."""
        return {name: documents.get(name) for name in self._names}

    def update(self, changed: State, _: Documents) -> State:
        """The effect on the target of commits that led to `changed`."""
        return {name: changed[name] for name in changed if name in self._names}


class QueryTarget:
    """The results of a query."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._shown: dict[str, Document] = {}

    def initial(self, documents: Documents) -> State:
        """The target's initial documents."""
        self._shown = {document.name: document for document in self._query.run(documents)}
        return dict(self._shown)

    def update(self, changed: State, documents: Documents) -> State:
        """The effect on the target of commits that led to `changed`; only a query with a limit is run again."""
        update: dict[str, Document | None] = {}
        for name, document in changed.items():
            if document is not None and self._query.finds(document):
                update[name] = document
            elif name in self._shown:
                update[name] = None
        if update and self._query.is_cut:
            return self._run_again(documents)
        self._shown |= {name: document for name, document in update.items() if document is not None}
        for name in [name for name, document in update.items() if document is None]:
            del self._shown[name]
        return update

    def _run_again(self, documents: Documents) -> State:
        before, self._shown = self._shown, {document.name: document for document in self._query.run(documents)}
        gone = {name: None for name in before if name not in self._shown}
        return gone | {name: document for name, document in self._shown.items() if before.get(name) is not document}


class Listener:
    """One client's stream, with any number of targets; `lock` also guards the store."""

    def __init__(self, store: Store, lock: threading.RLock) -> None:
        self._store = store
        self._arrival = threading.Condition(lock)
        self._targets: dict[int, DocumentsTarget | QueryTarget] = {}
        self._changed: dict[str, Document | None] = {}
        self._answers: list[ListenResponse] = []
        self._failure: Failure | None = None
        self._is_over = False

    def serve(self, requests: Iterator[ListenRequest], context: grpc.ServicerContext) -> Iterator[ListenResponse]:
        """Answer until the client goes away."""
        if not context.add_callback(self._end):
            return  # the client is gone already
        with self._arrival:
            self._store.watchers.append(self._watch)
        try:
            threading.Thread(target=self._read, args=(requests,), name="embedded-listen-reader", daemon=True).start()
            while (answers := self._next()) is not None:
                yield from answers
        finally:
            with self._arrival:
                self._store.watchers.remove(self._watch)
        if self._failure is not None:
            raise self._failure

    def _read(self, requests: Iterator[ListenRequest]) -> None:
        try:
            for request in requests:
                self._carry_out(request)
        except Failure as failure:
            self._failure = failure
            self._end()
        except grpc.RpcError:
            self._end()  # a broken stream: this is how clients end it

    def _carry_out(self, request: ListenRequest) -> None:
        with self._arrival:
            if request.HasField("add_target"):
                self._add(request.add_target)
            else:
                self._targets.pop(request.remove_target, None)
                self._answers.append(_target_change(_Kind.REMOVE, [request.remove_target]))
            self._arrival.notify()

    def _add(self, wanted: Target) -> None:
        target = _target(wanted)
        ids = [wanted.target_id]
        self._answers.append(_target_change(_Kind.ADD, ids))
        if wanted.WhichOneof("resume_type") is not None:
            # We don't remember what a client has seen: it drops everything and gets it again.
            self._answers.append(_target_change(_Kind.RESET, ids))
        now = self._store.clock.tick()
        self._answers += self._document_changes(target.initial(self._store.documents), wanted.target_id, now)
        self._answers.append(_target_change(_Kind.CURRENT, ids, now))
        self._answers.append(_target_change(_Kind.NO_CHANGE, [], now))
        self._targets[wanted.target_id] = target

    def _watch(self, changes: Sequence[Change]) -> None:
        """Record the changes of a commit; only the newest state of each document is kept until it is sent."""
        self._changed.update((change.name, change.new) for change in changes)
        self._arrival.notify()

    def _end(self) -> None:
        with self._arrival:
            self._is_over = True
            self._arrival.notify()

    def _next(self) -> list[ListenResponse] | None:
        """Wait for something to send; None when the stream is over."""
        with self._arrival:
            while not self._is_over:
                answers, self._answers = self._answers, []
                answers += self._snapshot()
                if answers:
                    return answers
                self._arrival.wait()
        return None

    def _snapshot(self) -> list[ListenResponse]:
        changed, self._changed = self._changed, {}
        if not changed:
            return []
        now = self._store.clock.tick()
        answers: list[ListenResponse] = []
        for target_id, target in self._targets.items():
            answers += self._document_changes(target.update(changed, self._store.documents), target_id, now)
        return [*answers, _target_change(_Kind.NO_CHANGE, [], now)] if answers else []

    def _document_changes(self, state: State, target_id: int, now: Timestamp) -> Iterator[ListenResponse]:
        for name, document in state.items():
            gone = {"document": name, "removed_target_ids": [target_id], "read_time": now}
            if document is not None:
                yield ListenResponse(document_change={"document": document, "target_ids": [target_id]})
            elif self._store.documents.get(name) is None:
                yield ListenResponse(document_delete=gone)
            else:
                yield ListenResponse(document_remove=gone)


def _target(wanted: Target) -> DocumentsTarget | QueryTarget:
    if wanted.HasField("documents"):
        return DocumentsTarget(wanted.documents.documents)
    if wanted.HasField("query"):
        return QueryTarget(Query(wanted.query.parent, wanted.query.structured_query))
    raise invalid("A target needs documents or a query.")


def _target_change(kind: int, target_ids: Sequence[int], now: Timestamp | None = None) -> ListenResponse:
    response = ListenResponse()
    response.target_change.target_change_type = _Kind(kind)
    response.target_change.target_ids.extend(target_ids)
    if now is not None:
        response.target_change.read_time.CopyFrom(now)
        response.target_change.resume_token = now.SerializeToString()
    return response

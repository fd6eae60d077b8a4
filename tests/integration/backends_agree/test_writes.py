"""Writes, single, batched and in transactions, and their events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData
from hypothesis import given
from hypothesis import strategies as st

from local.waiting import wait_until
from tests.integration.backends_agree.sides import DATA, EXAMPLE_NUMBERS, SCALARS, VALUES, Side, agree, outcome, plain

#: The test takes 12 s: 100 sequences of writes on two backends.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

TRANSFORMS = st.one_of(
    st.builds(firestore.Increment, st.sampled_from([1, -2, 2**63 - 1, 1.5])),
    st.builds(firestore.Maximum, st.sampled_from([0, 2, 1.0, 1.5])),
    st.builds(firestore.Minimum, st.sampled_from([0, 2, 1.0, 1.5])),
    st.builds(firestore.ArrayUnion, st.lists(SCALARS, min_size=1, max_size=3)),
    st.builds(firestore.ArrayRemove, st.lists(SCALARS, min_size=1, max_size=3)),
    st.just(firestore.SERVER_TIMESTAMP),
    st.just(firestore.DELETE_FIELD),
)
PATHS = st.sampled_from(["a", "b", "c", "a.b", "a.c", "b.a.c", "`d.e`", "a.`h\\`i`"])
UPDATES = st.dictionaries(PATHS, st.one_of(VALUES, TRANSFORMS), min_size=1, max_size=3).filter(
    lambda update: not any(path.startswith(f"{above}.") for above in update for path in update)
)


@dataclass(frozen=True)
class World:
    """The place of an example on one side: separate documents in the collection whose writes make events."""

    db: firestore.Client
    example: int

    def doc(self, name: str) -> Any:
        return self.db.document(f"mail/{self.example}-{name}")


Data = dict[str, Any]
#: A write as arguments of a batch: `create`, `set` or `delete`, a document, its data.
Part = tuple[str, str, Data]


def create(world: World, doc: str, data: Data) -> object:
    return world.doc(doc).create(data) and "created"


def put(world: World, doc: str, data: Data, merge: bool) -> object:
    return world.doc(doc).set(data, merge=merge) and "set"


def update(world: World, doc: str, data: Data) -> object:
    return world.doc(doc).update(data) and "updated"


def delete(world: World, doc: str, exists: bool | None) -> object:
    option = None if exists is None else world.db.write_option(exists=exists)
    return world.doc(doc).delete(option=option) and "deleted"


def update_what_was_read(world: World, doc: str, data: Data, is_stale: bool) -> object:
    snapshot = world.doc(doc).get()
    if not snapshot.exists:
        return "nothing there"
    if is_stale:
        world.doc(doc).update({"touched": firestore.Increment(1)})
    return (
        world.doc(doc).update(data, option=world.db.write_option(last_update_time=snapshot.update_time)) and "updated"
    )


def commit(world: World, parts: list[Part]) -> object:
    return [result._pb.HasField("update_time") for result in _batch(world, parts).commit()]


def batch_write(world: World, parts: list[Part]) -> object:
    request = {"database": world.db._database_string, "writes": _batch(world, parts)._write_pbs}
    response = world.db._firestore_api.batch_write(request=request, metadata=world.db._rpc_metadata)
    return [status.code for status in response.status]


def _batch(world: World, parts: list[Part]) -> firestore.WriteBatch:
    batch = world.db.batch()
    for kind, doc, data in parts:
        getattr(batch, kind)(world.doc(doc), *(() if kind == "delete" else (data,)))
    return batch


def move(world: World, doc: str, other: str, data: Data) -> object:
    @firestore.transactional
    def run(transaction: firestore.Transaction) -> object:
        found = world.doc(doc).get(transaction=transaction)
        transaction.set(world.doc(other), found.to_dict() or data)
        transaction.delete(world.doc(doc))
        return found.exists

    return run(world.db.transaction())


DOCS = st.sampled_from(["x", "y"])
PARTS = st.lists(st.tuples(st.sampled_from(["create", "set", "delete"]), DOCS, DATA), min_size=1, max_size=3)
OPERATIONS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just(create), DOCS, DATA),
    st.tuples(st.just(put), DOCS, DATA, st.booleans()),
    st.tuples(st.just(update), DOCS, UPDATES),
    st.tuples(st.just(delete), DOCS, st.sampled_from([None, True])),
    st.tuples(st.just(update_what_was_read), DOCS, UPDATES, st.booleans()),
    st.tuples(st.just(commit), PARTS),
    st.tuples(st.just(batch_write), PARTS),
    st.tuples(st.just(move), DOCS, DOCS, DATA),
)


def play(side: Side, operations: list[tuple[Any, ...]], example: int) -> list[object]:
    """The result of each operation, and the documents after it."""
    world = World(side.db, example)
    history: list[object] = []
    times: dict[str, object] = {}
    for run, *arguments in operations:
        history.append((run.__name__, outcome(partial(run, world, *arguments))))
        for name in ("x", "y"):
            snapshot = world.doc(name).get()
            is_touched = times.get(name) != snapshot.update_time
            times[name] = snapshot.update_time
            is_new = snapshot.create_time == snapshot.update_time
            history.append((name, plain(snapshot.to_dict()), is_touched, is_new))
    world.doc("end").set({"last": True})
    return history


def changes(side: Side, example: int) -> list[tuple[str, object, object]]:
    """The events of one example that report a change: by document, in the order of the writes."""
    prefix = f"{example}-"
    told = []
    for event in list(side.events):
        name = (event.value.name or event.old_value.name).rpartition("/")[2]
        if name.startswith(prefix) and event.value != event.old_value:
            moment = event.value.update_time or event.old_value.update_time
            told.append((moment, name, _fields(event, "old_value"), _fields(event, "value")))
    told.sort(key=lambda entry: (entry[1], entry[0], entry[3] is None))
    return [(name, old, new) for _, name, old, new in told]


def _fields(event: DocumentEventData, side: str) -> object:
    """The document's fields as a sorted text, or None if the event doesn't have it."""
    if side not in event:
        return None
    raw = DocumentEventData.pb(event)
    return sorted((name, _masked(str(value))) for name, value in getattr(raw, side).fields.items())


def _masked(text: str) -> str:
    """Masks server times (those of the examples are in the year 2000)."""
    lines = text.splitlines()
    return " ".join("" if "seconds: 17" in line or "nanos" in line else line.strip() for line in lines)


@agree
@given(st.lists(OPERATIONS, min_size=1, max_size=6))
def test_writes_and_events_agree(sides: tuple[Side, Side], operations: list[tuple[Any, ...]]) -> None:
    example = next(EXAMPLE_NUMBERS)
    ours, theirs = (play(side, operations, example) for side in sides)
    assert ours == theirs

    def all_reported() -> bool:
        told = [changes(side, example) for side in sides]
        return told[0] == told[1] and any(name.endswith("-end") for name, *_ in told[0])

    if not wait_until(all_reported, seconds=5, pause=0.005):
        assert changes(sides[0], example) == changes(sides[1], example)

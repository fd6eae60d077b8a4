"""What Google's Python clients do by themselves, with several requests: deletes, pages, batches, listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter

from local.clients import async_firestore_client, firestore_client
from local.waiting import wait_until
from tests.integration.backends_agree.cable import Cable
from tests.integration.backends_agree.sides import EXAMPLE_NUMBERS, IDS, PROJECT, Side
from tests.patience import patience

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

#: A collection on one side, in which nothing is yet.
Fresh = Any


def fill(collection: Fresh, identifiers: list[str]) -> None:
    batch = collection._client.batch()
    for number, identifier in enumerate(identifiers):
        batch.set(collection.document(identifier), {"n": number % 5, "even": number % 2 == 0})
    batch.commit()


def ids(found: Any) -> list[str]:
    return [one.id for one in found]


def recursive_delete(collection: Fresh) -> object:
    db = collection._client
    fill(collection, IDS)
    for identifier in IDS:
        collection.document(identifier).collection("sub").document(identifier).set({})
        collection.document("missing").collection("sub").document(identifier).set({})
    neighbours = [db.collection(f"{collection.id}{suffix}") for suffix in ("!", "-", "0", "a")]
    for neighbour in neighbours:
        fill(neighbour, IDS[:3])
    deleted = db.recursive_delete(collection, chunk_size=7)
    return deleted, ids(collection.list_documents()), [ids(neighbour.get()) for neighbour in neighbours]


def recursive_delete_of_a_document(collection: Fresh) -> object:
    for identifier in IDS:
        collection.document(f"A/sub/{identifier}/deep/{identifier}").set({})
    collection.document("B/sub/x").set({})
    return collection._client.recursive_delete(collection.document("A")), ids(collection.list_documents())


def bulk_writer(collection: Fresh) -> object:
    fill(collection, ["d1", "d2"])
    refused: list[tuple[int, str]] = []

    def give_up(failure: Any, _: Any) -> bool:
        refused.append((failure.code, failure.operation.reference.id))
        return False

    writer = collection._client.bulk_writer()
    writer.on_write_error(give_up)
    for number in range(100):
        writer.create(collection.document(f"d{number}"), {"n": number})
    writer.flush()
    for number in range(0, 100, 2):
        writer.delete(collection.document(f"d{number}"))
    writer.close()
    return sorted(refused), collection.count().get()[0][0].value


def a_batch_of_500(collection: Fresh) -> object:
    fill(collection, [f"d{number}" for number in range(500)])
    batch = collection._client.batch()
    for number in range(500):
        batch.update(collection.document(f"d{number}"), {"n": firestore.Increment(1)})
    return len(batch.commit()), collection.sum("n").get()[0][0].value


def listed(collection: Fresh) -> object:
    fill(collection, IDS[::2])
    for identifier in IDS[1::2]:
        collection.document(identifier).collection("sub").document("x").set({})
    collection.document("A/sub/missing/deep/x").set({})
    collection.document("B/missing/missing/deep/x").set({})
    documents = [collection.document(identifier) for identifier in (IDS[1], "A", "B")]
    return ids(collection.list_documents(page_size=4)), [ids(document.collections()) for document in documents]


def pages_in_both_directions(collection: Fresh) -> object:
    fill(collection, IDS)
    seen = []
    for query in (
        collection.order_by("n"),
        collection.order_by("n", direction="DESCENDING"),
        collection.order_by("n").order_by("__name__", direction="DESCENDING"),
        collection.order_by("__name__"),
        collection.where(filter=FieldFilter("even", "==", True)).order_by("n"),
    ):
        forwards: list[Any] = []
        while page := (query.start_after(forwards[-1]) if forwards else query).limit(5).get():
            forwards += page
        before = query.end_before(forwards[7]).get()
        seen.append([ids(forwards), ids(before)])
    backwards = [ids(collection.order_by("n").limit_to_last(4).get())]
    for _ in range(3):
        edge = collection.document(backwards[-1][0]).get()
        backwards.append(ids(collection.order_by("n").end_before(edge).limit_to_last(4).get()))
    return seen, backwards


def a_collection_group(collection: Fresh) -> object:
    group = f"{collection.id}-group"
    for identifier in IDS:
        collection.document(f"{identifier}/{group}/{identifier}").set({"n": len(identifier)})
    collection._client.document(f"{group}/top").set({"n": 1})
    query = collection._client.collection_group(group)
    first = query.order_by("n").limit(5).get()
    rest = query.order_by("n").start_after(first[-1]).get()
    return ids(query.get()), ids(first), ids(rest), query.count().get()[0][0].value


def the_past(collection: Fresh) -> object:
    fill(collection, IDS[:4])
    time = collection.document("a").set({"n": 1}).update_time
    collection.document("a").set({"n": 2})
    collection._client.recursive_delete(collection)
    return (
        collection.document("a").get(read_time=time).to_dict(),
        ids(collection.get(read_time=time)),
        collection.count().get(read_time=time)[0][0].value,
        ids(collection.list_documents(read_time=time)),
        collection.id in ids(collection._client.collections(read_time=time)),
        [one.exists for one in collection._client.get_all([collection.document("a")], read_time=time)],
        ids(collection.get()),
    )


@pytest.mark.parametrize(
    "do",
    [
        recursive_delete,
        recursive_delete_of_a_document,
        bulk_writer,
        a_batch_of_500,
        listed,
        pages_in_both_directions,
        a_collection_group,
        the_past,
    ],
)
def test_the_client_s_helpers_agree(sides: tuple[Side, Side], do: Callable[[Fresh], object]) -> None:
    name = f"c{next(EXAMPLE_NUMBERS)}"
    ours, theirs = (do(side.db.collection(name)) for side in sides)
    assert ours == theirs


# The asynchronous client


async def use_all(collection: Any, sync: Any) -> object:
    """What the asynchronous client does in its own way; `sync` is the same collection."""
    db = collection._client
    fill(sync, IDS)
    batch = db.batch()
    for identifier in IDS:
        batch.set(collection.document(f"{identifier}/sub/{identifier}"), {"n": 1})
    await batch.commit()
    seen: list[object] = [
        [one.id async for one in collection.order_by("n").limit(5).stream()],
        ids(await collection.where(filter=FieldFilter("n", ">=", 3)).get()),
        (await collection.sum("n").get())[0][0].value,
        [one.id async for one in collection.list_documents(page_size=5)],
        [one.id async for one in collection.document("a").collections()],
        [one.exists async for one in db.get_all([collection.document("a"), collection.document("none")])],
        ids(await db.collection_group("sub").where(filter=FieldFilter("n", "==", 0)).get()),
    ]
    try:
        await collection.document("a").create({})
    except AlreadyExists:
        seen.append("exists")

    @firestore.async_transactional
    async def add(transaction: Any) -> None:
        found = await collection.document("a").get(transaction=transaction)
        transaction.update(found.reference, {"n": found.get("n") + 10})

    await asyncio.gather(*(add(db.transaction(max_attempts=30)) for _ in range(3)))
    seen.append((await collection.document("a").get()).get("n"))
    seen += [await db.recursive_delete(collection.document("a")), ids(sync.list_documents())]
    seen.append(await db.recursive_delete(collection, chunk_size=7))
    assert ids(sync.list_documents()) == []
    return seen


def test_the_asynchronous_client_s_helpers_agree(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"c{next(EXAMPLE_NUMBERS)}"

    async def use(side: Side) -> object:
        client = async_firestore_client(side.firestore, PROJECT)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", side.firestore)  # recursive_delete makes a client of its own
        try:
            return await use_all(client.collection(name), side.db.collection(name))
        finally:
            await client._firestore_api.transport.close()

    run: Callable[[Awaitable[object]], object] = asyncio.run  # type: ignore[assignment]
    ours, theirs = (run(use(side)) for side in sides)
    assert ours == theirs


# Listeners


class Watched:
    """What a listener has been told: the ids and values of each snapshot, and its changes."""

    def __init__(self, target: Any) -> None:
        self.snapshots: list[object] = []
        self._watch = target.on_snapshot(self._note)

    def _note(self, found: Any, changes: Any, _: Any) -> None:
        documents = [(one.id, one.get("n")) for one in found if one.exists]
        self.snapshots.append((documents, sorted((change.type.name, change.document.id) for change in changes)))

    def until(self, documents: list[tuple[str, int]]) -> bool:
        """Whether the newest snapshot has these documents, in time."""
        return wait_until(
            lambda: bool(self.snapshots) and self.snapshots[-1][0] == documents,  # type: ignore[index]
            patience(20),
            pause=0.01,
        )

    def close(self) -> None:
        self._watch.unsubscribe()


def test_listeners_agree_over_cut_connections(sides: tuple[Side, Side]) -> None:
    name = f"c{next(EXAMPLE_NUMBERS)}"
    ours, theirs = (_listened(side, name) for side in sides)
    assert ours == theirs


def _listened(side: Side, name: str) -> object:
    """The snapshots of a query and a document before and after the connection was cut, with changes meanwhile."""
    writer = side.db.collection(name)
    fill(writer, ["a", "b", "c"])
    # Closed even after a failure: a listener that is left calls the cut cable's port without a pause.
    with Cable(side.firestore) as cable, closing(firestore_client(cable.address, PROJECT)) as client:
        query = client.collection(name).where(filter=FieldFilter("n", ">", 0)).order_by("n")
        watched, one = Watched(query), Watched(client.collection(name).document("a"))
        assert watched.until([("b", 1), ("c", 2)])
        assert one.until([("a", 0)])
        writer.document("b").update({"n": 7})
        assert watched.until([("c", 2), ("b", 7)])
        before = [list(watched.snapshots), list(one.snapshots)]
        cable.cut()
        writer.document("c").delete()
        writer.document("d").set({"n": 9})
        writer.document("a").update({"n": 3})
        cable.mend()  # Google's emulator sometimes forgets what is written while a listener resumes
        assert watched.until([("a", 3), ("b", 7), ("d", 9)]), watched.snapshots
        assert one.until([("a", 3)]), one.snapshots
        writer.document("b").update({"n": -1})
        assert watched.until([("a", 3), ("d", 9)]), watched.snapshots
        last = [watched.snapshots[-1], one.snapshots[-1]]
        watched.close()
        one.close()
    return before, last

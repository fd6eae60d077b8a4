"""Transactions of the embedded Firestore: what they read, when they are aborted, and how they end."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from local.backends.embedded.failure import Failure
from local.backends.embedded.firestore import history, transactions
from local.backends.embedded.firestore.protos import Document, StructuredQuery, TransactionOptions, Value, Write
from local.backends.embedded.firestore.query import Query
from local.backends.embedded.firestore.store import Store
from local.backends.embedded.firestore.transactions import Transactions

DOCUMENTS = "projects/p/databases/(default)/documents"
READ_WRITE = TransactionOptions(read_write={})
READ_ONLY = TransactionOptions(read_only={})
ALL = Query(DOCUMENTS, StructuredQuery(from_=[{"collection_id": "mail"}]))
ORDERED = Query(
    DOCUMENTS,
    StructuredQuery(from_=[{"collection_id": "mail"}], order_by=[{"field": {"field_path": "n"}}], limit={"value": 2}),
)
CONTENTION = "cross-transaction contention"
CLOSED = "invalid or closed"


class World:
    """A store, transactions on it, and the time in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store = Store(lambda: round(1_700_000_000_000_000 + self.now * 1_000_000))
        self.transactions = Transactions(self.store, lambda: self.now)

    def put(self, name: str, number: int | None) -> Any:
        """Write a document, or delete it."""
        write = Write(delete=f"{DOCUMENTS}/{name}")
        if number is not None:
            write = Write(update=Document(name=f"{DOCUMENTS}/{name}", fields={"n": Value(integer_value=number)}))
        _, time = self.store.commit([write])
        return time

    def begin(self, options: TransactionOptions = READ_WRITE) -> bytes:
        return self.transactions.begin(options)

    def read(self, transaction: bytes, name: str) -> int | None:
        document = self.transactions.snapshot(transaction).get(f"{DOCUMENTS}/{name}")
        return None if document is None else document.fields["n"].integer_value

    def find(self, transaction: bytes, query: Query = ALL) -> list[int]:
        return [one.fields["n"].integer_value for one in self.transactions.snapshot(transaction).find(query.run)]


@pytest.fixture
def world() -> World:
    world = World()
    for number, name in enumerate("abc"):
        world.put(f"mail/{name}", number)
    return world


@pytest.mark.parametrize("options", [READ_WRITE, READ_ONLY])
def test_all_reads_see_the_moment_of_the_first(world: World, options: TransactionOptions) -> None:
    transaction = world.begin(options)
    assert world.read(transaction, "mail/a") == 0
    for name, number in [("mail/b", 10), ("mail/c", None), ("mail/d", 3), ("mail/b", 11)]:
        world.put(name, number)
    assert [world.read(transaction, f"mail/{name}") for name in "bcd"] == [1, 2, None]
    assert sorted(world.find(transaction)) == [0, 1, 2]
    assert world.find(transaction, ORDERED) == [0, 1]
    world.put("mail/a", None)
    assert world.find(transaction, ORDERED) == [0, 1]


def test_a_read_only_transaction_sees_the_moment_of_its_begin_a_read_write_one_of_its_first_read(world: World) -> None:
    only, write = world.begin(READ_ONLY), world.begin(READ_WRITE)
    world.put("mail/a", 7)
    assert (world.read(only, "mail/a"), world.read(write, "mail/a")) == (0, 7)


def test_a_read_only_transaction_can_begin_in_the_past(world: World) -> None:
    past = world.put("mail/a", 7)
    world.put("mail/a", 8)
    assert world.read(world.begin(TransactionOptions(read_only={"read_time": past})), "mail/a") == 7


CHANGES = [
    pytest.param("mail/b", 9, id="changed"),
    pytest.param("mail/b", None, id="deleted"),
    pytest.param("mail/x", 1, id="created"),
]


@pytest.mark.parametrize(("name", "number"), CHANGES)
@pytest.mark.parametrize("asks", [True, False])
def test_a_transaction_is_aborted_at_its_commit_if_what_it_read_has_changed(
    world: World, name: str, number: int | None, asks: bool
) -> None:
    transaction = world.begin()
    if asks:
        world.find(transaction)
    else:
        world.read(transaction, name)
    world.put(name, number)
    world.read(transaction, "mail/c")
    for _ in range(2):  # repeated by a client that did not get the answer, it is aborted again
        with pytest.raises(Failure, match=CONTENTION) as failure:
            world.transactions.conclude(transaction, writes=True)
        assert failure.value.code is grpc.StatusCode.ABORTED
    world.transactions.roll_back(transaction)


@pytest.mark.parametrize(("name", "number"), CHANGES)
def test_a_transaction_is_not_aborted_by_changes_to_what_it_did_not_read(
    world: World, name: str, number: int | None
) -> None:
    transaction = world.begin()
    world.read(transaction, "mail/a")
    world.find(transaction, ORDERED)  # a, b; of which b is not changed below
    world.put(name.replace("mail/b", "mail/c").replace("mail/x", "other/x"), number)
    world.transactions.conclude(transaction, writes=True)


def test_a_transaction_that_writes_nothing_is_valid_as_of_its_reads(world: World) -> None:
    transaction = world.begin()
    world.read(transaction, "mail/a")
    world.put("mail/a", 5)
    world.transactions.conclude(transaction, writes=False)


def test_a_document_that_is_written_back_has_changed_all_the_same(world: World) -> None:
    transaction = world.begin()
    world.read(transaction, "mail/a")
    world.put("mail/a", 5)
    world.put("mail/a", 0)
    with pytest.raises(Failure, match=CONTENTION):
        world.transactions.conclude(transaction, writes=True)


def test_a_read_only_transaction_refuses_writes_and_stays_open(world: World) -> None:
    transaction = world.begin(READ_ONLY)
    with pytest.raises(Failure, match="read-only"):
        world.transactions.conclude(transaction, writes=True)
    assert world.read(transaction, "mail/a") == 0


def ended_by_commit(world: World, transaction: bytes) -> None:
    world.transactions.conclude(transaction, writes=True)


def ended_by_rollback(world: World, transaction: bytes) -> None:
    world.transactions.roll_back(transaction)


def ended_by_being_idle(world: World, transaction: bytes) -> None:
    world.now += transactions.IDLE_SECONDS + 1
    world.begin()


def ended_by_being_open_for_too_long(world: World, transaction: bytes) -> None:
    for _ in range(10):
        world.now += transactions.OPEN_SECONDS / 10
        world.read(transaction, "mail/a")
    world.now += 1


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (ended_by_commit, CLOSED),
        (ended_by_rollback, CLOSED),
        (ended_by_being_idle, "transaction has expired"),
        (ended_by_being_open_for_too_long, "transaction has expired"),
    ],
)
def test_a_transaction_that_has_ended_is_refused(world: World, end: Any, told: str) -> None:
    transaction = world.begin()
    end(world, transaction)
    for _ in range(2):
        with pytest.raises(Failure, match=told) as failure:
            world.read(transaction, "mail/a")
        assert failure.value.code is grpc.StatusCode.INVALID_ARGUMENT
    world.transactions.roll_back(transaction)


@pytest.mark.parametrize("unknown", [b"", b"x", (99).to_bytes(8, "big"), b"x" * 8])
def test_an_unknown_transaction_is_refused(world: World, unknown: bytes) -> None:
    world.begin()
    for use in (world.transactions.snapshot, world.transactions.roll_back):
        with pytest.raises(Failure, match="Invalid transaction"):
            use(unknown)


def test_only_the_latest_transactions_that_ended_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "REMEMBERED", 2)
    begun = [world.begin() for _ in range(3)]
    ended_by_being_idle(world, b"")
    for transaction, told in zip(begun, [CLOSED, "expired", "expired"], strict=True):
        with pytest.raises(Failure, match=told):
            world.read(transaction, "mail/a")


# Reads in the past


def test_the_past_is_as_it_was(world: World) -> None:
    times = [world.put("mail/a", number) for number in (5, 6, None, 7)]
    past = [world.store.past(time) for time in times]
    found = [view.get(f"{DOCUMENTS}/mail/a") for view in past]
    assert [one and one.fields["n"].integer_value for one in found] == [5, 6, None, 7]
    assert [len(ALL.run(view)) for view in past] == [3, 3, 2, 3]
    world.put("mail/a", 8)
    assert [[one.fields["n"].integer_value for one in ORDERED.run(view)] for view in past] == [
        [1, 2], [1, 2], [1, 2], [1, 2],
    ]  # fmt: skip


def test_collections_of_the_past_are_those_that_had_documents(world: World) -> None:
    before = world.put("gone/x", 1)
    world.put("gone/x", None)
    world.put("new/x", 1)
    assert {name.rpartition("/")[2] for name in world.store.past(before).collections()} == {"mail", "gone"}


def test_only_what_is_kept_can_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT_BYTES", 2000)
    times = [world.put("mail/a", number) for number in range(50)]
    assert len(ALL.run(world.store.past(times[-2]))) == 3
    with pytest.raises(Failure, match="too old") as failure:
        world.store.past(times[0])
    assert failure.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_the_past_of_more_than_an_hour_ago_is_too_old(world: World) -> None:
    before = world.put("mail/a", 5)
    world.now += 3601
    with pytest.raises(Failure, match="too old"):
        world.store.past(before)


def test_a_transaction_is_aborted_if_its_moment_is_not_kept_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = world.begin()
    world.read(transaction, "mail/a")
    monkeypatch.setattr(history, "KEPT_BYTES", 2000)
    for number in range(50):
        world.put("mail/b", number)
    with pytest.raises(Failure, match=CONTENTION):
        world.read(transaction, "mail/b")


@pytest.mark.parametrize(
    ("seconds", "nanos", "told"), [(60, 0, "in the future"), (0, 1, "more than microseconds precision")]
)
def test_impossible_times_are_refused(world: World, seconds: int, nanos: int, told: str) -> None:
    time = world.put("mail/a", 5)
    time.seconds += seconds
    time.nanos += nanos
    with pytest.raises(Failure, match=told):
        world.store.past(time)

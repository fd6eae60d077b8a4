"""The embedded Firestore through Google's own client; what the comparison with the emulator can't show."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.query_profile import ExplainOptions
from google.cloud.firestore_v1.types import ListenRequest, WriteRequest
from google.cloud.firestore_v1.vector import Vector

from local.waiting import wait_until
from tests.patience import patience

Snapshots = list[tuple[list[str], list[str]]]


def test_update_times_grow_with_every_change(db: firestore.Client) -> None:
    times: Any = [db.document("mail/a").set({"n": number}).update_time for number in range(20)]
    assert times == sorted(set(times))


def test_a_write_that_changes_nothing_keeps_the_update_time(db: firestore.Client) -> None:
    before = db.document("mail/a").set({"n": 1}).update_time
    assert db.document("mail/a").update({"n": 1}).update_time == before


def test_of_two_transactions_that_read_what_the_other_writes_the_second_is_aborted(db: firestore.Client) -> None:
    document = db.document("mail/a")
    document.set({"n": 1})
    first, second = db.transaction(max_attempts=1), db.transaction(max_attempts=1)
    for transaction in (first, second):
        transaction._begin()
        document.get(transaction=transaction)
        transaction.update(document, {"n": firestore.Increment(1)})
    first._commit()
    with pytest.raises(exceptions.Aborted, match="cross-transaction contention"):
        second._commit()
    assert document.get().get("n") == 2


def test_a_transaction_is_aborted_when_its_query_would_find_something_else(db: firestore.Client) -> None:
    transaction = db.transaction()
    transaction._begin()
    query = db.collection("mail").where(filter=FieldFilter("n", "==", 1))
    assert list(query.stream(transaction=transaction)) == []
    db.document("mail/new").set({"n": 1})
    transaction.set(db.document("mail/count"), {"found": 0})
    with pytest.raises(exceptions.Aborted):
        transaction._commit()


def test_a_read_only_transaction_sees_the_past(db: firestore.Client) -> None:
    db.document("mail/a").set({"n": 1})
    transaction = db.transaction(read_only=True)
    transaction._begin()
    db.document("mail/a").set({"n": 2})
    assert db.document("mail/a").get(transaction=transaction).get("n") == 1


def test_the_client_repeats_an_aborted_transaction(db: firestore.Client) -> None:
    document = db.document("mail/a")
    document.set({"n": 0})
    interruptions: Iterator[int] = iter([10, 20])

    @firestore.transactional
    def add_one(transaction: firestore.Transaction) -> None:
        n = document.get(transaction=transaction).get("n")
        if (other := next(interruptions, None)) is not None:
            document.set({"n": other})
        transaction.set(document, {"n": n + 1})

    add_one(db.transaction())
    assert document.get().get("n") == 21


def test_a_read_can_begin_a_transaction(db: firestore.Client) -> None:
    db.document("mail/a").set({"n": 1})
    api, database = db._firestore_api, db._database_string
    names = [f"{database}/documents/mail/{name}" for name in ("a", "b")]
    request = {"database": database, "documents": names, "new_transaction": {"read_write": {}}}
    begun, *found = api.batch_get_documents(request=request)
    assert begun.transaction
    assert [one.found.name or one.missing for one in found] == names
    api.commit(request={"database": database, "transaction": begun.transaction, "writes": []})
    with pytest.raises(exceptions.InvalidArgument, match="invalid or closed"):
        api.commit(request={"database": database, "transaction": begun.transaction, "writes": []})


def test_batch_write_answers_for_each_write(db: firestore.Client) -> None:
    stale = db.document("mail/a").set({"n": 1}).update_time
    db.document("mail/a").set({"n": 2})
    database = db._database_string

    def write(name: str, condition: dict[str, Any]) -> dict[str, Any]:
        return {"update": {"name": f"{database}/documents/mail/{name}"}, "current_document": condition}

    writes = [write("a", {"update_time": stale}), write("b", {"exists": True}), write("c", {"exists": False})]
    response = db._firestore_api.batch_write(request={"database": database, "writes": writes})
    assert [status.code for status in response.status] == [9, 5, 0]
    assert [bool(result.update_time) for result in response.write_results] == [False, False, True]


def test_a_document_of_more_than_a_mebibyte_is_refused_and_nothing_is_written(db: firestore.Client) -> None:
    batch = db.batch()
    batch.set(db.document("mail/small"), {"n": 1})
    batch.set(db.document("mail/big"), {"a": "x" * 600_000, "b": "x" * 600_000})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the maximum allowed size of 1,048,576 bytes"):
        batch.commit()
    assert not db.document("mail/small").get().exists


def test_documents_are_listed_in_pages(db: firestore.Client) -> None:
    for name in "cab":
        db.document(f"mail/{name}").set({"n": 1})
    db.document("mail/missing/sub/x").set({})
    assert [reference.id for reference in db.collection("mail").list_documents(page_size=2)] == [
        "a",
        "b",
        "c",
        "missing",
    ]
    assert [collection.id for collection in db.document("mail/missing").collections()] == ["sub"]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (
            lambda db: list(db.collection_group("mail").get_partitions(2)),
            "google.firestore.v1.Firestore/PartitionQuery",
        ),
        (
            lambda db: list(
                db.collection("mail").find_nearest("v", Vector([1.0]), 1, DistanceMeasure.EUCLIDEAN).stream()
            ),
            "vector search",
        ),
        (lambda db: list(db.collection("mail").stream(explain_options=ExplainOptions())), "query plans"),
    ],
)
def test_unsupported_calls_are_unimplemented_by_name(db: firestore.Client, call: Any, names: str) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match=names):
        call(db)


# The Write stream


def written(db: firestore.Client, *requests: dict[str, Any]) -> list[Any]:
    """The answers of a stream on which each request waits for the answer before it."""
    database, waiting = db._database_string, queue.SimpleQueue[Any]()
    answers: Any = db._firestore_api.transport.write(iter(waiting.get, None))
    received = []
    for request in requests:
        waiting.put(WriteRequest(database=database, **request))
        received.append(next(answers))
    waiting.put(None)
    assert list(answers) == []
    return received


def update(db: firestore.Client, number: int, **condition: Any) -> dict[str, Any]:
    document = {"name": f"{db._database_string}/documents/mail/a", "fields": {"n": {"integer_value": number}}}
    return {"writes": [{"update": document, "current_document": condition}]}


def test_commits_on_one_stream_are_answered_one_by_one(db: firestore.Client) -> None:
    opened, first, second = written(db, {}, update(db, 1), update(db, 2, exists=True))
    assert (bool(opened.stream_id), bool(opened.stream_token), len(opened.write_results)) == (True, True, 0)
    assert first.commit_time < second.commit_time == second.write_results[0].update_time
    assert db.document("mail/a").get().get("n") == 2


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        pytest.param(lambda db: [{}, update(db, 1, exists=True)], grpc.StatusCode.NOT_FOUND, id="precondition"),
        pytest.param(lambda db: [update(db, 1)], grpc.StatusCode.INVALID_ARGUMENT, id="not opened"),
        pytest.param(lambda _: [{"stream_id": "earlier"}], grpc.StatusCode.INVALID_ARGUMENT, id="resumed"),
    ],
)
def test_a_commit_that_fails_ends_the_stream(db: firestore.Client, requests: Any, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        written(db, *requests(db))
    assert failed.value.code() is code
    assert not db.document("mail/a").get().exists


# Listen


def watch(target: Any) -> tuple[Any, Snapshots]:
    """The watch, and for each of its snapshots the ids and the changes."""
    seen: Snapshots = []

    def note(snapshots: Any, changes: Any, _: Any) -> None:
        seen.append(
            ([one.id for one in snapshots if one.exists], [f"{one.type.name} {one.document.id}" for one in changes])
        )

    return target.on_snapshot(note), seen


def seen_in_time(seen: Snapshots, count: int) -> bool:
    return wait_until(lambda: len(seen) >= count, seconds=5, pause=0.002)


def test_a_query_is_watched(db: firestore.Client) -> None:
    query = db.collection("mail").where(filter=FieldFilter("n", ">", 1)).order_by("n")
    watcher, seen = watch(query)
    steps: list[Any] = [
        lambda: None,
        lambda: db.document("mail/a").set({"n": 2}),
        lambda: db.document("mail/b").set({"n": 3}),
        lambda: db.document("mail/a").update({"n": 4}),
        lambda: db.document("mail/b").update({"n": 1}),
        lambda: db.document("mail/a").delete(),
    ]
    for number, step in enumerate(steps, 1):
        step()
        assert seen_in_time(seen, number), seen
    watcher.unsubscribe()
    assert seen == [
        ([], []),
        (["a"], ["ADDED a"]),
        (["a", "b"], ["ADDED b"]),
        (["b", "a"], ["MODIFIED a"]),
        (["a"], ["REMOVED b"]),
        ([], ["REMOVED a"]),
    ]


def test_a_document_that_leaves_a_limited_query_is_replaced_by_the_next(db: firestore.Client) -> None:
    for number in range(3):
        db.document(f"mail/{number}").set({"n": number})
    watcher, seen = watch(db.collection("mail").order_by("n").limit(2))
    assert seen_in_time(seen, 1)
    db.document("mail/0").delete()
    assert seen_in_time(seen, 2)
    watcher.unsubscribe()
    assert seen[-1] == (["1", "2"], ["REMOVED 0", "ADDED 2"])


def test_a_document_can_be_watched_before_it_exists(db: firestore.Client) -> None:
    watcher, seen = watch(db.document("mail/a"))
    assert seen_in_time(seen, 1)
    db.document("mail/other").set({})
    db.document("mail/a").set({"n": 1})
    assert seen_in_time(seen, 2)
    watcher.unsubscribe()
    assert seen == [([], []), (["a"], ["ADDED a"])]


def test_a_listener_that_comes_back_forgets_and_gets_everything_again(db: firestore.Client) -> None:
    db.document("mail/a").set({"n": 1})
    database = db._database_string
    documents = {"documents": [f"{database}/documents/mail/a"]}
    stay = threading.Event()

    def requests() -> Iterator[Any]:
        yield ListenRequest(
            database=database, add_target={"documents": documents, "target_id": 7, "resume_token": b"before"}
        )
        yield ListenRequest(database=database, remove_target=7)
        stay.wait(patience(5))

    stream: Any = db._firestore_api.transport.listen(requests())
    told = []
    for response in stream:
        told.append(response.target_change.target_change_type.name if response.target_change else "document")
        if told[-1] == "REMOVE":
            break
    stay.set()
    stream.cancel()
    assert told == ["ADD", "RESET", "document", "CURRENT", "NO_CHANGE", "REMOVE"]

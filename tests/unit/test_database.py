"""Firestore's answers as ours, over a real connection, whether operations go alone or together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import pytest

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from shared import rpcs
from shared.batching import batching
from shared.database import Database, FirestoreDatabase, PreparedWrite, Snapshot, Stale, Unwritable, Version
from shared.errors import FirepostError, Unavailable
from shared.states import DELETE, Changes

PROJECT = "demo-database"
TOO_LARGE = {"html": "x" * 600_000, "text": "x" * 600_000}
TOO_LONG = {"text": "x" * 1024 * 1024}
NO_UNICODE = "\ud800"


@pytest.fixture(scope="module")
def backend() -> Iterator[EmbeddedBackend]:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "nothing", "http://127.0.0.1:1/"))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def firestore(backend: EmbeddedBackend) -> Iterator[FirestoreDatabase]:
    backend.faults.clear()
    with closing(rpcs.connect(backend.firestore)) as connection:
        yield FirestoreDatabase(connection, PROJECT, "(default)")


@pytest.fixture(params=["plain", "batching"])
def database(request: pytest.FixtureRequest, firestore: FirestoreDatabase) -> Database:
    return batching(firestore, size=100 if request.param == "batching" else 1, wait_ms=5)


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A document of this test's own."""
    return f"tests/{request.node.name}"


def test_what_is_created_can_be_read(database: Database, path: str) -> None:
    version = database.create(path, {"to": "a@b.c", "message": {"text": "t"}, "n": [1, None, True]})
    found = database.get(path)
    assert found is not None
    assert (found.path, found.version) == (path, version)
    assert found.fields == {"to": "a@b.c", "message": {"text": "t"}, "n": [1, None, True]}


def test_there_may_be_nothing_to_read(database: Database, path: str) -> None:
    assert database.get(path) is None


def test_an_update_changes_the_named_fields_alone(database: Database, path: str) -> None:
    version = database.create(path, {"kept": 1, "map": {"kept": 2, "gone": 3, "new": 4}})
    version = database.update(path, {"map.gone": DELETE, "map.new": {"a": 5}}, version)
    assert database.get(path) == _snapshot(database, path, {"kept": 1, "map": {"kept": 2, "new": {"a": 5}}}, version)


def test_what_is_there_can_not_be_created(database: Database, path: str) -> None:
    database.create(path, {})
    with pytest.raises(Stale):
        database.create(path, {"other": 1})


def test_what_has_changed_can_not_be_updated(database: Database, path: str) -> None:
    version = database.create(path, {"n": 1})
    database.update(path, {"n": 2}, version)
    with pytest.raises(Stale):
        database.update(path, {"n": 3}, version)
    with pytest.raises(Stale):
        database.update(f"{path}-none", {"n": 3}, version)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(TOO_LARGE, id="too large"),
        pytest.param(TOO_LONG, id="too long"),
        pytest.param({"n": 2**63}, id="integer beyond 64 bits"),
        pytest.param({"text": NO_UNICODE}, id="no Unicode"),
        pytest.param({"__reserved__": 1}, id="reserved name"),
    ],
)
def test_what_can_not_be_stored_is_unwritable(database: Database, path: str, fields: Changes) -> None:
    with pytest.raises(Unwritable):
        database.create(path, fields)
    version = database.create(path, {})
    with pytest.raises(Unwritable):
        database.update(path, {"map": fields}, version)


@pytest.mark.parametrize("name", ["__reserved__", NO_UNICODE], ids=["reserved", "no Unicode"])
def test_a_document_that_can_not_be_is_refused(database: Database, name: str) -> None:
    with pytest.raises(Unwritable):
        database.get(f"tests/{name}")
    with pytest.raises(Unwritable):
        database.create(f"tests/{name}", {})


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL])
def test_a_failure_is_unavailable_and_says_what_it_was(
    database: Database, backend: EmbeddedBackend, path: str, code: grpc.StatusCode
) -> None:
    backend.faults.on("*").fail(code)
    for operation in (lambda: database.get(path), lambda: database.create(path, {})):
        with pytest.raises(Unavailable, match=code.name):
            operation()


def test_a_database_that_is_not_there_is_unavailable_and_not_empty(
    database: Database, backend: EmbeddedBackend, path: str
) -> None:
    backend.faults.on("BatchGetDocuments").fail(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(Unavailable, match="NOT_FOUND"):
        database.get(path)


def test_a_write_whose_answer_is_lost_may_have_happened(
    database: Database, backend: EmbeddedBackend, path: str
) -> None:
    backend.faults.on("Commit").lose_response()
    with pytest.raises(Unavailable):
        database.create(path, {"n": 1})
    assert database.get(path) is not None


def test_a_transaction_decides_about_what_it_has_read(database: Database, path: str) -> None:
    database.create(path, {"n": 1})
    decision, seen, version = database.transact(path, lambda found: ("more", {"n": 2}))
    assert (decision, seen and seen.fields) == ("more", {"n": 1})
    assert database.get(path) == _snapshot(database, path, {"n": 2}, version)
    assert database.transact(path, lambda found: ("enough", None))[::2] == ("enough", None)
    assert database.transact(f"{path}-none", lambda found: (found, None)) == (None, None, None)


class TestInBulk:
    def test_documents_come_in_the_order_they_were_asked_for(self, firestore: FirestoreDatabase, path: str) -> None:
        for name in "ab":
            firestore.create(f"{path}-{name}", {"n": name})
        found = firestore.get_many([f"{path}-{name}" for name in "bcab"])
        assert [each and each.fields["n"] for each in found] == ["b", None, "a", "b"]

    def test_each_write_has_an_outcome_of_its_own(self, firestore: FirestoreDatabase, path: str) -> None:
        version = firestore.create(f"{path}-a", {"n": 1})
        firestore.create(f"{path}-b", {"n": 1})
        outcomes = firestore.write_many(
            [
                firestore.prepare_update(f"{path}-a", {"n": 2}, version),
                firestore.prepare_update(f"{path}-none", {"n": 2}, version),
                firestore.prepare_create(f"{path}-b", {"n": 2}),
                firestore.prepare_create(f"{path}-c", TOO_LARGE),
                firestore.prepare_create(f"{path}-d", {"n": 2}),
            ]
        )
        assert [type(outcome) for outcome in outcomes] == [Version, Stale, Stale, Unwritable, Version]
        assert [each and each.fields["n"] for each in firestore.get_many([f"{path}-{name}" for name in "abcd"])] == [
            *(2, 1, None, 2)
        ]

    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param({"__reserved__": 1}, id="reserved name"),
            pytest.param(TOO_LONG, id="too long"),
            pytest.param(TOO_LARGE, id="too large"),
        ],
    )
    def test_a_bad_write_does_not_fail_its_neighbours(
        self, firestore: FirestoreDatabase, backend: EmbeddedBackend, path: str, bad: Changes
    ) -> None:
        def create(name: str, fields: Changes) -> Callable[[Database], object]:
            return lambda database: database.create(f"{path}-{name}", fields)

        outcomes = together(backend, create("first", {}), create("a", {}), create("bad", bad), create("b", {}))
        assert outcomes == [Version, Version, Unwritable, Version]

    def test_a_bad_read_does_not_fail_its_neighbours(
        self, firestore: FirestoreDatabase, backend: EmbeddedBackend, path: str
    ) -> None:
        firestore.create(path, {})

        def get(path: str) -> Callable[[Database], object]:
            return lambda database: database.get(path)

        outcomes = together(backend, *map(get, [path, path, f"tests/{NO_UNICODE}", "tests/none"]))
        assert outcomes == [Snapshot, Snapshot, Unwritable, type(None)]

    def test_a_lost_answer_is_lost_for_all_who_went_together(
        self, firestore: FirestoreDatabase, backend: EmbeddedBackend, path: str
    ) -> None:
        paths = [f"{path}-{number}" for number in range(4)]

        def create(path: str) -> Callable[[Database], object]:
            return lambda database: database.create(path, {})

        backend.faults.on("BatchWrite").lose_response()
        assert together(backend, *map(create, paths)) == [Version, *[Unavailable] * 3]
        assert None not in firestore.get_many(paths)


class InTwoRequests(FirestoreDatabase):
    """Holds the first request until the second is made."""

    def __init__(self, connection: rpcs.Connection) -> None:
        super().__init__(connection, PROJECT, "(default)")
        self.first = threading.Event()
        self._second = threading.Event()

    def get_many(self, paths: Sequence[str]) -> list[Snapshot | None]:
        self._take_turns()
        return super().get_many(paths)

    def write(self, write: PreparedWrite) -> Version:
        self._take_turns()
        return super().write(write)

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        self._take_turns()
        return super().write_many(writes)

    def _take_turns(self) -> None:
        if self.first.is_set():
            self._second.set()
        else:
            self.first.set()
            assert self._second.wait(5)


def together(backend: EmbeddedBackend, *operations: Callable[[Database], object]) -> list[type]:
    """What kinds of outcomes operations have of which the first goes alone, and the others behind it together."""
    with closing(rpcs.connect(backend.firestore)) as connection, ThreadPoolExecutor(len(operations)) as threads:
        firestore = InTwoRequests(connection)
        database = batching(firestore, size=len(operations) - 1, wait_ms=5000)

        def outcome(operation: Callable[[Database], object]) -> type:
            try:
                return type(operation(database))
            except FirepostError as error:
                return type(error)

        alone = threads.submit(outcome, operations[0])
        assert firestore.first.wait(5)
        others = [threads.submit(outcome, operation) for operation in operations[1:]]
        return [future.result() for future in (alone, *others)]


def _snapshot(database: Database, path: str, fields: Changes, version: Version | None) -> Snapshot:
    found = database.get(path)
    assert found is not None
    assert version is not None
    return Snapshot(path, dict(fields), found.created, version)

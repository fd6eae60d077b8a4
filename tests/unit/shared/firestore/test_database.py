"""Translation of Firestore's answers, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from shared.delivery.lanes import Traits
from shared.delivery.model import DELETE, QUEUED, Changes, Delivery, DocumentState, State
from shared.errors import FirepostError, Unavailable
from shared.firestore.client import connect_firestore
from shared.firestore.database import (
    MAX_WRITES,
    FirestoreDatabase,
    Snapshot,
    Stale,
    Unwritable,
    Version,
    Write,
)

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
def database(backend: EmbeddedBackend) -> Iterator[FirestoreDatabase]:
    backend.faults.clear()
    with closing(connect_firestore(backend.firestore)) as connection:
        yield FirestoreDatabase(connection, PROJECT, "(default)")


def written(database: FirestoreDatabase, path: str, changes: Changes, version: Version | None = None) -> Version:
    """The new version; raises the error if the answer is one."""
    [outcome] = database.write([Write(path, changes, version)])
    if isinstance(outcome, FirepostError):
        raise outcome
    return outcome


def found(database: FirestoreDatabase, path: str) -> Snapshot | None:
    [outcome] = database.read([path])
    if isinstance(outcome, FirepostError):
        raise outcome
    return outcome


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """The path of a document that only this test uses."""
    return f"tests/{request.node.name}"


def test_created_documents_can_be_read(database: FirestoreDatabase, path: str) -> None:
    version = written(database, path, {"to": "a@b.c", "message": {"text": "t"}, "n": [1, None, True]})
    snapshot = found(database, path)
    assert snapshot is not None
    assert (snapshot.path, snapshot.version) == (path, version)
    assert snapshot.fields == {"to": "a@b.c", "message": {"text": "t"}, "n": [1, None, True]}


def test_there_may_be_nothing_to_read(database: FirestoreDatabase, path: str) -> None:
    assert found(database, path) is None


def test_an_update_changes_only_the_named_fields(database: FirestoreDatabase, path: str) -> None:
    version = written(database, path, {"kept": 1, "map": {"kept": 2, "gone": 3, "new": 4}})
    version = written(database, path, {"map.gone": DELETE, "map.new": {"a": 5}}, version)
    assert found(database, path) == _snapshot(database, path, {"kept": 1, "map": {"kept": 2, "new": {"a": 5}}}, version)


def test_an_existing_document_can_not_be_created(database: FirestoreDatabase, path: str) -> None:
    written(database, path, {})
    with pytest.raises(Stale):
        written(database, path, {"other": 1})


def test_a_changed_document_can_not_be_updated(database: FirestoreDatabase, path: str) -> None:
    version = written(database, path, {"n": 1})
    written(database, path, {"n": 2}, version)
    with pytest.raises(Stale):
        written(database, path, {"n": 3}, version)
    with pytest.raises(Stale):
        written(database, f"{path}-none", {"n": 3}, version)


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
def test_values_that_can_not_be_stored_are_unwritable(database: FirestoreDatabase, path: str, fields: Changes) -> None:
    with pytest.raises(Unwritable):
        written(database, path, fields)
    version = written(database, path, {})
    with pytest.raises(Unwritable):
        written(database, path, {"map": fields}, version)


@pytest.mark.parametrize("name", ["__reserved__", NO_UNICODE], ids=["reserved", "no Unicode"])
def test_an_impossible_document_is_refused(database: FirestoreDatabase, name: str) -> None:
    with pytest.raises(Unwritable):
        found(database, f"tests/{name}")
    with pytest.raises(Unwritable):
        written(database, f"tests/{name}", {})


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL])
def test_a_failure_is_unavailable_and_says_what_it_was(
    database: FirestoreDatabase, backend: EmbeddedBackend, path: str, code: grpc.StatusCode
) -> None:
    backend.faults.on("*").fail(code)
    for operation in (lambda: found(database, path), lambda: written(database, path, {})):
        with pytest.raises(Unavailable, match=code.name):
            operation()


def test_the_text_of_a_failure_has_none_of_firestores_words(
    database: FirestoreDatabase, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and Firestore likes to quote names and values."""

    class Refusal(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.FAILED_PRECONDITION

        def details(self) -> str:
            return "No index for ada@example.com"

    def call(*_: object) -> None:
        raise Refusal

    monkeypatch.setattr(database, "_call", call)
    [error] = database.read([path])
    assert (type(error), str(error)) == (Unavailable, "Firestore answered FAILED_PRECONDITION.")


def test_a_missing_database_is_unavailable_and_not_empty(
    database: FirestoreDatabase, backend: EmbeddedBackend, path: str
) -> None:
    backend.faults.on("BatchGetDocuments").fail(grpc.StatusCode.NOT_FOUND)
    with pytest.raises(Unavailable, match="NOT_FOUND"):
        found(database, path)


def test_a_write_whose_answer_is_lost_may_have_happened(
    database: FirestoreDatabase, backend: EmbeddedBackend, path: str
) -> None:
    backend.faults.on("Commit").lose_response()
    with pytest.raises(Unavailable):
        written(database, path, {"n": 1})
    assert found(database, path) is not None


def test_a_transaction_decides_about_what_it_has_read(database: FirestoreDatabase, path: str) -> None:
    written(database, path, {"n": 1})
    decision, seen, version = database.transact(path, lambda found: ("more", {"n": 2}))
    assert (decision, seen and seen.fields) == ("more", {"n": 1})
    assert found(database, path) == _snapshot(database, path, {"n": 2}, version)
    assert database.transact(path, lambda found: ("enough", None))[::2] == ("enough", None)
    assert database.transact(f"{path}-none", lambda found: (found, None)) == (None, None, None)


class TestForMany:
    def test_documents_come_in_the_order_they_were_asked_for(self, database: FirestoreDatabase, path: str) -> None:
        for name in "ab":
            written(database, f"{path}-{name}", {"n": name})
        outcomes = database.read([f"{path}-{name}" for name in "bcab"])
        assert [isinstance(each, Snapshot) and each.fields["n"] for each in outcomes] == ["b", False, "a", "b"]

    def test_each_write_has_an_outcome_of_its_own(self, database: FirestoreDatabase, path: str) -> None:
        version = written(database, f"{path}-a", {"n": 1})
        written(database, f"{path}-b", {"n": 1})
        outcomes = database.write(
            [
                Write(f"{path}-a", {"n": 2}, version),
                Write(f"{path}-none", {"n": 2}, version),
                Write(f"{path}-b", {"n": 2}, None),
                Write(f"{path}-c", TOO_LARGE, None),
                Write(f"{path}-d", {"n": 2}, None),
            ]
        )
        assert [type(outcome) for outcome in outcomes] == [Version, Stale, Stale, Unwritable, Version]
        assert [each and each.fields["n"] for each in map(database.get, (f"{path}-{name}" for name in "abcd"))] == [
            *(2, 1, None, 2)
        ]

    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param({"__reserved__": 1}, id="reserved name"),
            pytest.param({"n": 2**63}, id="integer beyond 64 bits"),
            pytest.param({"n": object()}, id="no type"),
            pytest.param(TOO_LONG, id="too long"),
            pytest.param(TOO_LARGE, id="too large"),
        ],
    )
    def test_a_bad_write_does_not_fail_its_neighbours(
        self, database: FirestoreDatabase, path: str, bad: Changes
    ) -> None:
        writes = {"a": {"n": 1}, "bad": bad, "b": {"n": 1}}
        outcomes = database.write([Write(f"{path}-{name}", fields, None) for name, fields in writes.items()])
        assert [type(outcome) for outcome in outcomes] == [Version, Unwritable, Version]

    def test_a_bad_read_does_not_fail_its_neighbours(self, database: FirestoreDatabase, path: str) -> None:
        written(database, path, {})
        outcomes = database.read([path, path, f"tests/{NO_UNICODE}", "tests/none"])
        assert [type(outcome) for outcome in outcomes] == [Snapshot, Snapshot, Unwritable, type(None)]

    @pytest.mark.parametrize("method", ["BatchGetDocuments", "BatchWrite"])
    def test_a_failure_is_raised_to_all_callers_each_with_a_separate_error(
        self, database: FirestoreDatabase, backend: EmbeddedBackend, path: str, method: str
    ) -> None:
        paths = [f"{path}-{name}" for name in "ab"]
        backend.faults.on(method).fail(grpc.StatusCode.UNAVAILABLE)
        is_read = method == "BatchGetDocuments"
        outcomes = database.read(paths) if is_read else database.write([Write(path, {}, None) for path in paths])
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
        assert outcomes[0] is not outcomes[1], "a traceback belongs to one thread"

    def test_a_lost_answer_is_lost_for_the_whole_batch(
        self, database: FirestoreDatabase, backend: EmbeddedBackend, path: str
    ) -> None:
        paths = [f"{path}-{number}" for number in range(3)]
        backend.faults.on("BatchWrite").lose_response()
        outcomes = database.write([Write(path, {}, None) for path in paths])
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
        assert None not in map(database.get, paths)

    def test_oversized_batches_use_several_requests(self, database: FirestoreDatabase, path: str) -> None:
        writes = [Write(f"{path}-{number}", {"text": "x" * 1_000_000}, None) for number in range(12)]
        assert {type(outcome) for outcome in database.write(writes)} == {Version}


class TestQueries:
    """What the reconciler asks. The integration tests ask Google's emulator, too."""

    NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def filled(self, database: FirestoreDatabase, path: str, deliveries: Sequence[object]) -> str:
        collection = path.replace("tests/", "queries/for/")
        writes = [
            Write(f"{collection}/{number:02}", {"delivery": delivery, "sendAt": self.NOW, "text": "long"}, None)
            for number, delivery in enumerate(deliveries)
        ]
        assert {type(outcome) for outcome in database.write(writes)} == {Version}
        return collection

    def test_pages_of_a_state_go_on_after_an_id_that_need_not_exist(
        self, database: FirestoreDatabase, path: str
    ) -> None:
        deliveries = [{"state": state} for state in ("PENDING", "SUCCESS", "RETRY", "PROCESSING") * 3]
        collection = self.filled(database, path, deliveries)

        def page(after: str | None) -> list[str]:
            return [each.path.rpartition("/")[2] for each in database.in_states(collection, QUEUED, 3, after).found]

        assert [page(None), page("04"), page("05"), page("10")] == [
            ["00", "02", "04"],
            ["06", "08", "10"],
            ["06", "08", "10"],
            [],
        ]

    def test_a_page_of_large_documents_ends_early_and_the_next_goes_on(
        self, database: FirestoreDatabase, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Anybody who may write documents can make each of them as large as 1 MiB."""
        monkeypatch.setattr("shared.firestore.database._PAGE_BYTES", 250_000)
        large = {"state": "PENDING", "nextAttemptTime": self.NOW, "startTime": ["x" * 100_000]}
        collection = self.filled(database, path, [large] * 5)
        page = database.in_states(collection, QUEUED, 500, None)
        assert ([each.path[-2:] for each in page.found], page.is_last) == (["00", "01", "02"], False)
        rest = database.in_states(collection, QUEUED, 500, "02")
        assert ([each.path[-2:] for each in rest.found], rest.is_last) == (["03", "04"], True)
        assert [len(page) for page in database.due(collection, self.NOW, 500)] == [3, 2]
        assert page.found[0].known.delivery == Delivery(State.PENDING, next_attempt_time=self.NOW)

    def test_what_is_due_comes_in_pages_the_earliest_first(self, database: FirestoreDatabase, path: str) -> None:
        ago = [3, 1, 2, 2, 2, 2, -1]
        scheduled = [{"state": "ERROR", "nextAttemptTime": self.NOW - timedelta(seconds=each)} for each in ago]
        odd: list[object] = [{"nextAttemptTime": "2026-11-24"}, {"nextAttemptTime": None}, "nextAttemptTime", None]
        collection = self.filled(database, path, [*scheduled, *odd])
        pages = [[each.path[-2:] for each in page] for page in database.due(collection, self.NOW, 2)]
        assert pages == [["00", "02"], ["03", "04"], ["05", "01"]]

    def test_the_page_goes_on_after_documents_that_are_not_due_any_more(
        self, database: FirestoreDatabase, path: str
    ) -> None:
        collection = self.filled(database, path, [{"state": "PENDING", "nextAttemptTime": self.NOW}] * 5)
        seen = []
        for page in database.due(collection, self.NOW, 2):
            seen += page
            database.write([Write(each.path, {"delivery.nextAttemptTime": DELETE}, each.version) for each in page])
        assert len({each.path for each in seen}) == 5
        assert list(database.due(collection, self.NOW, 2)) == []

    def test_only_what_decisions_depend_on_is_known(self, database: FirestoreDatabase, path: str) -> None:
        delivery = {"state": "RETRY", "attempts": 2, "nextAttemptTime": self.NOW, "info": {"response": "250"}}
        collection = self.filled(database, path, [delivery])
        [[found]] = database.due(collection, self.NOW, 2)
        assert found.known == DocumentState(Delivery(State.RETRY, 2, next_attempt_time=self.NOW), self.NOW)
        assert written(database, found.path, {"delivery.attempts": 3}, found.version) != found.version

    @pytest.mark.parametrize(
        ("fields", "traits"),
        [
            pytest.param({}, Traits(), id="none"),
            pytest.param(
                {"template": {"name": "news", "data": {"name": "Ada"}}}, Traits(template="news"), id="template"
            ),
            pytest.param({"template": {"name": {"a": 1}}}, Traits(template=""), id="template without a readable name"),
            pytest.param({"template": "news"}, Traits(), id="no map"),
            pytest.param({"lane": "bulk", "transport": "b"}, Traits("bulk", "b"), id="lane and transport"),
            pytest.param({"lane": ["x" * 2_000], "transport": None}, Traits(""), id="not text"),
            pytest.param({"lane": "x" * 2_000}, Traits("x" * 1_000), id="long"),
        ],
    )
    def test_what_the_lane_depends_on_is_known(
        self, database: FirestoreDatabase, path: str, fields: dict[str, Any], traits: Traits
    ) -> None:
        collection = f"{path}/mail"
        document = {**fields, "delivery": {"state": "PENDING"}}
        database.write([Write(f"{collection}/a", document, None)])
        [found] = database.in_states(collection, [State.PENDING], 2, None).found
        assert found.known.traits == traits


def test_more_writes_than_a_request_takes_are_split(database: FirestoreDatabase, path: str) -> None:
    outcomes = database.write([Write(f"{path}-{number}", {}, None) for number in range(MAX_WRITES + 1)])
    assert [type(outcome) for outcome in outcomes] == [Version] * (MAX_WRITES + 1)


def test_whole_documents_come_in_pages_by_id(database: FirestoreDatabase) -> None:
    for name in "bca":
        written(database, f"pages/{name}", {"n": name, "map": {"x": 1}})
    first = database.page("pages", 2)
    assert [(each.path, each.fields) for each in first] == [
        (f"pages/{name}", {"n": name, "map": {"x": 1}}) for name in "ab"
    ]
    assert [each.path for each in database.page("pages", 2, "pages/b")] == ["pages/c"]
    assert database.page("pages", 2, "pages/c") == []


def _snapshot(database: FirestoreDatabase, path: str, fields: Changes, version: Version | None) -> Snapshot:
    snapshot = found(database, path)
    assert snapshot is not None
    assert version is not None
    return Snapshot(path, dict(fields), snapshot.created, version)

"""The documents as the console knows them, over a real (embedded) Firestore."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud import firestore

from local.backends.embedded import EmbeddedBackend
from local.documents import Documents, matching, summary
from shared.delivery.model import State
from tests.patience import patience

THEN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def ids(documents: Documents) -> list[str]:
    return [each.id for each in documents.latest()]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({}, {"state": "NEW", "subject": "", "error": "", "recipients": ()}, id="just written"),
        pytest.param(
            {"delivery": "odd", "message": 7, "to": {"a": 1}},
            {"state": "NEW", "subject": "", "recipients": ()},
            id="malformed by the user",
        ),
        pytest.param(
            {"delivery": {"state": "ERROR", "attempts": 2, "error": "No.", "errorCode": "rejected"}},
            {"state": "ERROR", "attempts": 2, "error": "No.", "code": "rejected", "has_ended": True},
            id="failed",
        ),
        pytest.param(
            {"delivery": {"state": "SUCCESS", "info": {"response": "250 Ok", "messageId": "<1@x>"}}},
            {"response": "250 Ok", "message_id": "<1@x>"},
            id="sent",
        ),
        pytest.param(
            {"to": "a@x", "cc": ["b@x", 7], "bcc": ["c@x"]}, {"recipients": ("a@x", "b@x", "c@x")}, id="recipients"
        ),
        pytest.param({"template": {"name": "hello"}}, {"subject": "hello"}, id="by a template"),
        pytest.param({"sendAt": THEN}, {"next_attempt": THEN, "has_ended": False}, id="to be sent later"),
        pytest.param(
            {"sendAt": THEN, "delivery": {"state": "SUCCESS", "endTime": THEN}}, {"next_attempt": None}, id="was sent"
        ),
        pytest.param({"to": ["a@x"] * 1000, "message": {"subject": "x" * 9999}}, {"subject": "x" * 500}, id="huge"),
    ],
)
def test_a_summary_shows_a_documents_result(data: dict[str, Any], expected: dict[str, Any]) -> None:
    found = summary("a", THEN, data)
    assert {name: getattr(found, name) for name in expected} == expected
    assert len(found.recipients) <= 20


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, ["a", "b", "c"], id="all"),
        pytest.param({"state": "ERROR"}, ["b", "c"], id="a state"),
        pytest.param({"state": "ERROR", "code": "rejected"}, ["b"], id="a code"),
        pytest.param({"text": "GRACE"}, ["b"], id="a recipient"),
        pytest.param({"text": "mailbox"}, ["b"], id="the error"),
        pytest.param({"text": "order"}, ["a"], id="the subject"),
        pytest.param({"text": " c "}, ["a", "b", "c"], id="part of anything"),
        pytest.param({"text": "nobody"}, [], id="nothing"),
    ],
)
def test_documents_are_found(asked: dict[str, str], expected: list[str]) -> None:
    error = {"state": "ERROR", "errorCode": "rejected", "error": "550 No such mailbox"}
    known = [
        summary("a", THEN, {"to": "ada@c.example", "message": {"subject": "Your order"}}),
        summary("b", THEN, {"to": "grace@example.com", "delivery": error}),
        summary("c", THEN, {"delivery": {"state": "ERROR", "errorCode": "template"}}),
    ]
    assert [each.id for each in matching(known, **asked)] == expected


def test_the_most_recently_changed_come_first(documents: Documents, db: firestore.Client) -> None:
    for identifier in "abc":
        db.document(f"mail/{identifier}").set({"to": "x"})
    assert ids(documents) == ["c", "b", "a"]
    documents.set_state("a", State.RETRY)
    db.document("mail/b").delete()
    db.document("mail/a/parts/1").set({"n": 1})
    db.document("other/z").set({"n": 1})
    assert [(each.id, each.state) for each in documents.latest()] == [("a", "RETRY"), ("c", "NEW")]


def test_a_look_reads_only_what_has_changed(
    documents: Documents, db: firestore.Client, backend: EmbeddedBackend
) -> None:
    for number in range(50):
        db.document(f"mail/{number}").set({"to": "x"})
    documents.latest()
    before = backend.reads
    db.document("mail/7").update({"to": "y"})
    assert documents.latest()[0].recipients == ("y",)
    documents.latest()
    assert backend.reads - before == 1


def test_a_look_that_fails_is_made_up_for(documents: Documents, db: firestore.Client, backend: EmbeddedBackend) -> None:
    db.document("mail/a").set({"to": "x"})
    documents.latest()
    db.document("mail/b").set({"to": "x"})
    backend.faults.on("BatchGetDocuments").nth(1).fail(grpc.StatusCode.INVALID_ARGUMENT)
    with pytest.raises(Exception, match="Fault on demand"):
        documents.latest()
    assert ids(documents) == ["b", "a"]


def test_only_a_limited_number_is_known(
    documents: Documents, db: firestore.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.documents.KNOWN_DOCUMENTS", 3)
    for identifier in "ab":
        db.document(f"mail/{identifier}").set({"to": "x"})
    assert (ids(documents), documents.is_cut) == (["b", "a"], False)
    for identifier in "cde":
        db.document(f"mail/{identifier}").set({"to": "x"})
    assert (ids(documents), documents.is_cut) == (["e", "d", "c"], True)
    for identifier in "fghij":  # more than are remembered one by one
        db.document(f"mail/{identifier}").set({"to": "x"})
    assert (len(ids(documents)), documents.is_cut) == (3, True)


def test_a_document_is_replaced_but_for_its_delivery(documents: Documents, db: firestore.Client) -> None:
    db.document("mail/a").set({"to": "x", "old": 1, "delivery": {"state": "ERROR", "attempts": 1}})
    documents.replace("a", {"to": "y"}, lambda data: data == {"to": "x", "old": 1})
    assert db.document("mail/a").get().to_dict() == {"to": "y", "delivery": {"state": "ERROR", "attempts": 1}}
    with pytest.raises(FailedPrecondition):
        documents.replace("a", {"to": "z"}, lambda data: False)
    with pytest.raises(NotFound):
        documents.replace("gone", {"to": "z"}, lambda data: True)


def test_a_document_is_created_once_read_and_deleted(documents: Documents) -> None:
    assert documents.create({"to": "x"}, "mine") == "mine"
    with pytest.raises(AlreadyExists):
        documents.create({"to": "x"}, "mine")
    found = documents.get("mine")
    assert found is not None
    assert (found.data, found.created) == ({"to": "x"}, found.changed)
    documents.delete("mine")
    assert documents.get("mine") is None
    with pytest.raises(NotFound):
        documents.set_state("mine", State.RETRY)


def test_waiting_ends_when_the_document_is_as_wanted(documents: Documents, db: firestore.Client) -> None:
    db.document("mail/a").set({"to": "x"})
    found: list[bool] = []
    waiter = threading.Thread(
        target=lambda: found.append(documents.wait("a", lambda each: each.has_ended, patience(10)))
    )
    waiter.start()
    for state in ("PENDING", "PROCESSING", "SUCCESS"):
        db.document("mail/a").update({"delivery.state": state})
    waiter.join(patience(5))
    assert found == [True]
    assert not documents.wait("a", lambda each: each.state == "ERROR", 0.05)
    assert not documents.wait("gone", lambda each: True, timedelta(0).total_seconds())

"""The pages and the API of the documents."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import firestore

from local.documents import Document
from local.mailstore import MailStore
from local.web.documents import timeline
from tests.patience import patience
from tests.unit.local.web.conftest import Browser, message

THEN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FAILED: dict[str, Any] = {
    "to": "grace@example.com",
    "message": {"subject": "<b>Order</b>"},
    "delivery": {"state": "ERROR", "errorCode": "rejected", "error": "550 No such mailbox", "attempts": 1},
}


@pytest.fixture(autouse=True)
def two_documents(db: firestore.Client) -> None:
    db.document("mail/a").set({"to": "ada@example.com", "delivery": {"state": "SUCCESS", "attempts": 1}})
    db.document("mail/b").set(FAILED)


def ids(found: Any) -> list[str]:
    return [each["id"] for each in found["documents"]]


def test_states_are_counted_and_documents_listed(browser: Browser) -> None:
    shown = browser.json("/api/documents")
    assert (shown["counts"], ids(shown), shown["complete"]) == ({"SUCCESS": 1, "ERROR": 1}, ["b", "a"], True)
    assert shown["documents"][0]["errorCode"] == "rejected"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [("state=ERROR", ["b"]), ("code=rejected", ["b"]), ("query=ada@", ["a"]), ("limit=1", ["b"]), ("state=NEW", [])],
)
def test_documents_are_filtered(browser: Browser, parameters: str, expected: list[str]) -> None:
    shown = browser.json(f"/api/documents?{parameters}")
    assert (ids(shown), shown["counts"]) == (expected, {"SUCCESS": 1, "ERROR": 1})


def test_the_page_shows_them_with_tiles_that_are_links(browser: Browser) -> None:
    page = browser.get("/console").text
    assert 'href="/console?state=ERROR"' in page
    assert 'href="/console/documents/b"' in page
    assert "&lt;b&gt;Order&lt;/b&gt;" in page
    only = browser.get("/console?state=ERROR&query=grace").text
    assert 'href="/console/documents/b"' in only
    assert 'href="/console/documents/a"' not in only
    assert "None of 2 documents is like that" in browser.get("/console?query=nobody").text


@pytest.mark.parametrize(
    ("state", "button"),
    [("SUCCESS", "RETRY"), ("ERROR", "RETRY"), ("CANCELLED", "RETRY"), ("PENDING", "CANCEL"), ("PROCESSING", "CANCEL")],
)
def test_a_document_has_the_button_that_makes_sense(
    browser: Browser, db: firestore.Client, state: str, button: str
) -> None:
    db.document("mail/a").update({"delivery.state": state})
    page = browser.get("/console/documents/a").text
    assert [word for word in ("RETRY", "CANCEL") if f">{word}</button>" in page] == [button]


def test_a_documents_page_shows_all_fields_its_past_and_its_mails(
    browser: Browser, db: firestore.Client, store: MailStore
) -> None:
    history = [
        {"attempt": 1, "startTime": THEN, "endTime": THEN, "state": "RETRY", "response": "451 Later"},
        {"attempt": 2, "startTime": THEN, "endTime": THEN, "state": "SUCCESS", "messageId": "<1@example.com>"},
    ]
    db.document("mail/a").update({"delivery.history": history, "own": b"\x01"})
    store.keep("a@example.com", ["ada@example.com"], message("Its mail"))
    store.keep("a@example.com", ["ada@example.com"], message("Another", "<2@example.com>"))
    page = browser.get("/console/documents/a").text
    for part in ("Attempt 1", "451 Later", "Attempt 2", "Its mail", "$bytes"):
        assert part in page
    assert "Another" not in page


@pytest.mark.parametrize("identifier", ["a b", "ä", "%2e%2e", "a?b#c", "<script>"])
def test_any_id_has_a_page(browser: Browser, db: firestore.Client, identifier: str) -> None:
    db.document(f"mail/{identifier}").set({"to": "x"})
    (entry,) = browser.json("/api/documents?state=NEW")["documents"]
    assert entry["id"] == identifier
    page = browser.get("/console?state=NEW").text
    (link,) = (part.split('"')[0] for part in page.split('href="')[1:] if part.startswith("/console/documents/"))
    assert browser.get(link).status_code == 200


def test_a_document_is_written(browser: Browser, db: firestore.Client) -> None:
    body = {"to": "x", "sendAt": {"$timestamp": THEN.isoformat()}}
    answer = browser.open("POST", "/api/documents?id=mine", json=body)
    assert (answer.status_code, answer.get_json()) == (201, {"id": "mine"})
    assert db.document("mail/mine").get().to_dict() == {"to": "x", "sendAt": THEN}
    assert browser.send("POST", "/api/documents?id=mine", body) == 409
    assert browser.send("POST", "/api/documents", body) == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/documents", ["no object"]),
        ("/api/documents", {"sendAt": {"$timestamp": "soon"}}),
        ("/api/documents", {"user": {"$reference": "users"}}),
        ("/api/documents?id=a/b", {"to": "x"}),
        ("/api/documents?id=..", {"to": "x"}),
    ],
)
def test_what_is_no_document_is_refused(calm: Browser, path: str, body: object) -> None:
    assert calm.send("POST", path, body) == 400


def test_a_document_is_edited_unless_it_has_changed_meanwhile(browser: Browser, db: firestore.Client) -> None:
    seen = {"If-Match": browser.get("/api/documents/b").headers["ETag"]}
    db.document("mail/b").update({"delivery.attempts": 2})  # Firepost's own writes are no change to the user's fields
    answer = browser.open("PUT", "/api/documents/b", json={"to": "new"}, headers=seen)
    assert (answer.status_code, answer.headers["ETag"]) == (204, browser.get("/api/documents/b").headers["ETag"])
    assert db.document("mail/b").get().to_dict() == {"to": "new", "delivery": {**FAILED["delivery"], "attempts": 2}}
    assert browser.send("PUT", "/api/documents/b", {"to": "newer"}, headers=seen) == 409
    assert browser.send("PUT", "/api/documents/b", {"to": "newer"}) == 204
    assert browser.send("PUT", "/api/documents/b", {"delivery": {}}) == 400
    assert browser.send("PUT", "/api/documents/b", {}, headers={"If-Match": "anything"}) == 409
    assert browser.send("PUT", "/api/documents/gone", {}) == 404


@pytest.mark.parametrize(("wish", "state"), [("retry", "RETRY"), ("cancel", "CANCELLED")])
def test_another_attempt_is_asked_for_or_none(browser: Browser, db: firestore.Client, wish: str, state: str) -> None:
    assert browser.send("POST", f"/api/documents/b/{wish}") == 204
    assert db.document("mail/b").get().get("delivery.state") == state
    assert browser.send("POST", f"/api/documents/gone/{wish}") == 404
    assert browser.send("POST", "/api/documents/b/explode") == 404


def test_a_document_is_deleted(browser: Browser, db: firestore.Client) -> None:
    assert browser.open("DELETE", "/api/documents/b").status_code == 204
    assert not db.document("mail/b").get().exists
    assert browser.get("/api/documents/b").status_code == 404


def test_a_program_waits_until_a_document_has_ended(browser: Browser, db: firestore.Client) -> None:
    db.document("mail/c").set({"to": "x", "delivery": {"state": "PENDING"}})
    assert browser.json("/api/documents/c?wait=0.05")["fields"]["delivery"] == {"state": "PENDING"}
    later = threading.Timer(0.1, lambda: db.document("mail/c").update({"delivery.state": "SUCCESS"}))
    later.start()
    assert browser.json(f"/api/documents/c?wait={patience(10)}")["fields"]["delivery"] == {"state": "SUCCESS"}
    later.join()


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        pytest.param(None, [("Written", "")], id="just written"),
        pytest.param("odd", [("Written", "")], id="malformed by the user"),
        pytest.param(
            {"state": "PENDING", "nextAttemptTime": THEN},
            [("Written", ""), ("Next attempt", "PENDING")],
            id="scheduled",
        ),
        pytest.param(
            {"state": "PROCESSING", "attempts": 2, "history": [{"attempt": 1, "state": "ERROR"}]},
            [("Written", ""), ("Attempt 1", "ERROR"), ("Attempt 2 is running", "PROCESSING")],
            id="under way",
        ),
    ],
)
def test_the_timeline_has_the_past_and_what_is_planned(delivery: object, expected: list[tuple[str, str]]) -> None:
    document = Document("a", THEN, THEN + timedelta(1), {"delivery": delivery})
    assert [(moment.title, moment.state) for moment in timeline(document)] == expected

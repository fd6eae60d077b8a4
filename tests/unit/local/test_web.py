"""The web pages' JSON, and their protection against other sites."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.api_core.exceptions import NotFound

from local.inbox import Inbox
from local.web import create_app
from local.web.console import Document, Documents, overview, row

HOST = {"base_url": "http://127.0.0.1"}
THEN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class FakeDocuments(Documents):
    """The collection, in memory."""

    def __init__(self) -> None:
        self.path = "mail"
        self.written: list[Mapping[str, Any]] = []
        self.retried: list[str] = []
        self.cancelled: list[str] = []

    def latest(self) -> list[Document]:
        return [Document("a", THEN, {"delivery": {"state": "SUCCESS"}}), Document("b", THEN, {"to": "x"})]

    def write(self, data: Mapping[str, Any]) -> str:
        self.written.append(data)
        return "new-id"

    def retry(self, identifier: str) -> None:
        if identifier != "a":
            raise NotFound("no such document")
        self.retried.append(identifier)

    def cancel(self, identifier: str) -> None:
        if identifier != "a":
            raise NotFound("no such document")
        self.cancelled.append(identifier)


@pytest.fixture
def documents() -> FakeDocuments:
    return FakeDocuments()


@pytest.fixture
def inbox() -> Inbox:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "<b>Grüße</b>", "a@example.com", "b@example.com"
    message.set_content("plain")
    message.add_alternative('<script>alert(1)</script><img src="cid:logo">', subtype="html")
    message.add_attachment(b"\x89PNG", "image", "png", filename='lo"go.png', cid="<logo>")
    inbox = Inbox()
    inbox.keep("bounce@example.com", ["b@example.com", "hidden@example.com"], message.as_bytes())
    return inbox


@pytest.fixture
def client(inbox: Inbox, documents: FakeDocuments) -> FlaskClient:
    return create_app(inbox, documents, {"sender": "signed", "dispatcher": None}.get).test_client()


def test_the_list_of_mails_has_envelope_and_headers(client: FlaskClient) -> None:
    (entry,) = client.get("/api/messages", **HOST).get_json()
    assert entry["sender"] == "bounce@example.com"
    assert entry["recipients"] == ["b@example.com", "hidden@example.com"]
    assert (entry["subject"], entry["from"], entry["cc"]) == ("<b>Grüße</b>", "a@example.com", "")


def test_a_mail_is_shown_in_all_its_parts(client: FlaskClient, inbox: Inbox) -> None:
    shown = client.get("/api/messages/1", **HOST).get_json()
    assert shown["text"] == "plain\n"
    assert ["From", "a@example.com"] in shown["headers"]
    assert shown["attachments"] == [{"name": 'lo"go.png', "type": "image/png", "size": 4, "contentId": "logo"}]
    assert client.get("/api/messages/1/raw", **HOST).data == inbox.mails()[0].data


def test_a_mails_html_can_do_nothing(client: FlaskClient) -> None:
    answer = client.get("/api/messages/1/html", **HOST)
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert 'src="/api/messages/1/attachments/0"' in answer.text


def test_an_attachment_is_a_download_whatever_it_claims_to_be(client: FlaskClient) -> None:
    answer = client.get("/api/messages/1/attachments/0", **HOST)
    assert answer.data == b"\x89PNG"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


ODD_MAILS = (
    b"Message-ID: <@>\r\n\r\nx",
    b"Cc: <\r\n\r\nx",
    b"Content-Type: attachment; filename*\r\n\r\nx",
    b"Content-Type: text/html; charset=utf-7\r\n\r\n+2AA-",
    b"Content-Disposition: attachment; filename*=utf-8''a%0Ab\r\n\r\nx",
    b"Content-Type: x/\xff\r\nContent-ID: <\xff>\r\n\r\nx",
    b"\xff\xfe",
)


def test_an_odd_mail_is_shown_and_hides_no_other(client: FlaskClient, inbox: Inbox) -> None:
    for data in ODD_MAILS:
        inbox.keep("a\udcff@example.com", ["b\udcff@example.com"], data)
    numbers = [entry["number"] for entry in client.get("/api/messages", **HOST).get_json()]
    assert numbers == list(range(len(ODD_MAILS) + 1, 0, -1))
    for number in numbers:
        shown = client.get(f"/api/messages/{number}", **HOST).get_json()
        paths = ["raw", "html", *(f"attachments/{index}" for index in range(len(shown["attachments"])))]
        for path in paths:
            assert client.get(f"/api/messages/{number}/{path}", **HOST).status_code == 200


@pytest.mark.parametrize("path", ["/api/messages/2", "/api/messages/2/raw", "/api/messages/1/attachments/1"])
def test_missing_resources_are_404(client: FlaskClient, path: str) -> None:
    assert client.get(path, **HOST).status_code == 404


def test_all_mails_can_be_deleted(client: FlaskClient) -> None:
    assert client.delete("/api/messages", **HOST).status_code == 204
    assert client.get("/api/messages", **HOST).get_json() == []


@pytest.mark.parametrize("path", ["/", "/console", "/static/inbox.js", "/static/console.js", "/static/style.css"])
def test_pages_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    with client.get(path, **HOST) as answer:
        assert answer.status_code == 200
        assert "://" not in answer.get_data(as_text=True)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_another_sites_name_for_this_machine_is_refused(client: FlaskClient) -> None:
    assert client.get("/api/messages", base_url="http://evil.example").status_code == 400


def test_the_console_counts_states_and_lists_documents(client: FlaskClient) -> None:
    shown = client.get("/console/api/documents", **HOST).get_json()
    assert shown["counts"] == {"SUCCESS": 1, "NEW": 1}
    assert [entry["id"] for entry in shown["documents"]] == ["a", "b"]


def test_the_console_writes_a_document(client: FlaskClient, documents: FakeDocuments) -> None:
    answer = client.post("/console/api/documents", json={"to": "a@example.com"}, **HOST)
    assert (answer.status_code, answer.get_json()) == (201, {"id": "new-id"})
    assert documents.written == [{"to": "a@example.com"}]


def test_the_console_asks_for_another_attempt(client: FlaskClient, documents: FakeDocuments) -> None:
    assert client.post("/console/api/documents/a/retry", json={}, **HOST).status_code == 204
    assert client.post("/console/api/documents/gone/retry", json={}, **HOST).status_code == 404
    assert documents.retried == ["a"]


def test_the_console_calls_a_mail_off(client: FlaskClient, documents: FakeDocuments) -> None:
    assert client.post("/console/api/documents/a/cancel", json={}, **HOST).status_code == 204
    assert client.post("/console/api/documents/gone/cancel", json={}, **HOST).status_code == 404
    assert client.post("/console/api/documents/a/delete", json={}, **HOST).status_code == 404
    assert (documents.cancelled, documents.retried) == (["a"], [])


def test_the_console_signs_tokens_for_scripts(client: FlaskClient) -> None:
    answer = client.get("/console/api/tokens/sender", **HOST)
    assert (answer.text, answer.mimetype) == ("signed\n", "text/plain")
    assert client.get("/console/api/tokens/dispatcher", **HOST).status_code == 404
    assert client.get("/console/api/tokens/elsewhere", **HOST).status_code == 404
    assert client.get("/console/api/tokens/sender", base_url="http://evil.example").status_code == 400


@pytest.mark.parametrize(
    "path", ["/console/api/documents", "/console/api/documents/a/retry", "/console/api/documents/a/cancel"]
)
def test_another_sites_form_can_not_write(client: FlaskClient, documents: FakeDocuments, path: str) -> None:
    assert client.post(path, data={"to": "a@example.com"}, **HOST).status_code == 415
    assert (documents.written, documents.retried, documents.cancelled) == ([], [], [])


def test_a_limited_number_of_documents_is_shown_but_all_are_counted() -> None:
    shown = overview([Document(str(number), THEN, {}) for number in range(150)])
    assert (shown["counts"], len(shown["documents"]), shown["complete"]) == ({"NEW": 150}, 100, True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({}, {"state": "NEW", "subject": "", "error": None}, id="just written"),
        pytest.param({"delivery": "odd", "message": 7}, {"state": "NEW", "subject": ""}, id="malformed by the user"),
        pytest.param(
            {"delivery": {"state": "ERROR", "attempts": 2, "error": "No.", "errorCode": "rejected"}},
            {"state": "ERROR", "attempts": 2, "error": "No.", "errorCode": "rejected"},
            id="failed",
        ),
        pytest.param(
            {"delivery": {"state": "SUCCESS", "info": {"response": "250 Ok"}}}, {"response": "250 Ok"}, id="sent"
        ),
        pytest.param({"sendAt": THEN}, {"nextAttempt": "2026-11-24T12:00:00+00:00"}, id="to be sent later"),
    ],
)
def test_a_row_shows_a_documents_result(data: dict[str, Any], expected: dict[str, Any]) -> None:
    shown = row(Document("a", THEN, data))
    assert {name: shown[name] for name in expected} == expected

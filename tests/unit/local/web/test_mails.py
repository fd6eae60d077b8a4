"""The inbox's pages and its API."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from google.cloud import firestore

from local.backends.embedded import EmbeddedBackend
from local.mailstore import MailStore
from tests.patience import patience
from tests.unit.local.web.conftest import Browser, message


@pytest.fixture(autouse=True)
def one_mail(store: MailStore) -> None:
    store.keep("bounce@example.com", ["b@example.com", "hidden@example.com"], message())


def test_the_list_of_mails_has_envelope_and_headers(browser: Browser) -> None:
    (entry,) = browser.json("/api/messages")
    assert entry["sender"] == "bounce@example.com"
    assert entry["recipients"] == ["b@example.com", "hidden@example.com"]
    assert (entry["subject"], entry["from"], entry["cc"]) == ("<b>Grüße</b>", "a@example.com", "")
    assert (entry["unread"], entry["attachments"]) == (True, 1)


def test_a_mail_is_shown_in_all_its_parts(browser: Browser, store: MailStore) -> None:
    shown = browser.json("/api/messages/1")
    assert shown["text"] == "plain, https://a.example/verify\n"
    assert shown["links"] == ["https://a.example/verify"]
    assert ["From", "a@example.com"] in shown["headers"]
    assert shown["attachments"] == [{"name": 'lo"go.png', "type": "image/png", "size": 4, "contentId": "logo"}]
    assert browser.get("/api/messages/1/raw").data == store.mails()[0].data


def test_a_mails_html_can_do_nothing_but_open_links(browser: Browser) -> None:
    answer = browser.get("/api/messages/1/html")
    policy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'"
    assert answer.headers["Content-Security-Policy"].startswith(policy)
    assert 'src="/api/messages/1/attachments/0"' in answer.text
    assert '<base target="_blank">' in answer.text


def test_an_attachment_is_a_download_whatever_it_claims_to_be(browser: Browser) -> None:
    answer = browser.get("/api/messages/1/attachments/0")
    assert answer.data == b"\x89PNG"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_mail_is_downloaded_as_a_file(browser: Browser) -> None:
    answer = browser.get("/api/messages/1/eml")
    assert answer.headers["Content-Disposition"] == "attachment; filename=mail-1.eml"
    assert answer.mimetype == "message/rfc822"


ODD_MAILS = (
    b"Message-ID: <@>\r\n\r\nx",
    b"Cc: <\r\n\r\nx",
    b"Content-Type: attachment; filename*\r\n\r\nx",
    b"Content-Type: text/html; charset=utf-7\r\n\r\n+2AA-",
    b"Content-Disposition: attachment; filename*=utf-8''a%0Ab\r\n\r\nx",
    b"Content-Type: x/\xff\r\nContent-ID: <\xff>\r\n\r\nx",
    b"\xff\xfe",
    b"",
)


def test_an_odd_mail_is_shown_and_hides_no_other(browser: Browser, store: MailStore) -> None:
    for data in ODD_MAILS:
        store.keep("a\udcff@example.com", ["b\udcff@example.com"], data)
    numbers = [entry["number"] for entry in browser.json("/api/messages")]
    assert numbers == list(range(len(ODD_MAILS) + 1, 0, -1))
    for number in numbers:
        shown = browser.json(f"/api/messages/{number}")
        paths = ["raw", "html", "eml", *(f"attachments/{index}" for index in range(len(shown["attachments"])))]
        for path in paths:
            assert browser.get(f"/api/messages/{number}/{path}").status_code == 200
        for view in ("", "?view=text", "?view=headers", "?view=source", "?view=parts", "?width=phone"):
            assert browser.get(f"/mails/{number}{view}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/messages/2", "/api/messages/2/raw", "/api/messages/1/attachments/1", "/mails/2", "/mails/x"]
)
def test_missing_resources_are_404(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_a_mail_whose_file_is_gone_is_404(browser: Browser, store: MailStore) -> None:
    store.mails()[0].file.unlink()
    assert browser.get("/api/messages/1/raw").status_code == 404


def test_mails_can_be_deleted_one_by_one_and_all(browser: Browser, store: MailStore) -> None:
    for _ in range(2):
        store.keep("a@example.com", ["b@example.com"], message())
    assert browser.open("DELETE", "/api/messages/2").status_code == 204
    assert browser.open("DELETE", "/api/messages/2").status_code == 404
    assert [entry["number"] for entry in browser.json("/api/messages")] == [3, 1]
    assert browser.open("DELETE", "/api/messages").status_code == 204
    assert browser.json("/api/messages") == []


def test_a_mail_that_was_opened_is_read(browser: Browser, store: MailStore) -> None:
    store.keep("a@example.com", ["b@example.com"], message())
    browser.get("/mails/1")
    assert browser.send("PATCH", "/api/messages/2", {"unread": True}) == 400
    assert store.unread() == {2}
    assert browser.send("PATCH", "/api/messages/2", {"unread": False}) == 204
    assert store.unread() == frozenset()


def test_the_page_lists_what_is_searched(browser: Browser, store: MailStore) -> None:
    store.keep("a@example.com", ["grace@example.com"], message("Your order"))
    page = browser.get("/?q=GRACE").text
    assert "Your order" in page
    assert "&lt;b&gt;Grüße" not in page
    assert "No mail is like that" in browser.get("/?q=nobody").text


def test_a_long_list_is_cut_and_says_so(browser: Browser, store: MailStore) -> None:
    for _ in range(2):
        store.keep("a@example.com", ["b@example.com"], message())
    assert "The last 2 of 3." in browser.get("/?limit=2").text
    assert browser.get("/?limit=501").status_code == 400


@pytest.mark.parametrize("path", ["/", "/?q=order", "/api/messages", "/api/messages?query=order"])
def test_a_list_opens_no_mail(browser: Browser, store: MailStore, path: str) -> None:
    """However large mails are, a list of them costs the same."""
    store.keep("a@example.com", ["grace@example.com"], message("Your order"))
    for mail in store.mails():
        mail.file.unlink()
    assert "Your order" in browser.get(path).text


def test_a_mail_leads_to_its_document(browser: Browser, db: firestore.Client) -> None:
    db.document("mail/order 1").set({"to": "x", "delivery": {"info": {"messageId": "<1@example.com>"}}})
    assert 'href="/console/documents/order%201"' in browser.get("/mails/1").text


def test_a_mail_is_shown_while_firestore_fails(browser: Browser, backend: EmbeddedBackend) -> None:
    backend.faults.on("RunQuery").fail(grpc.StatusCode.PERMISSION_DENIED)
    assert browser.get("/mails/1").status_code == 200
    answer = browser.get("/console")
    assert (answer.status_code, "Fault on demand" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("to=grace@example.com", [2]),
        ("subject=order", [2]),
        ("query=verify", [2, 1]),
        ("after=1", [2]),
        ("limit=1", [2]),
        ("to=nobody@example.com", []),
    ],
)
def test_programs_find_mails(browser: Browser, store: MailStore, parameters: str, expected: list[int]) -> None:
    store.keep("a@example.com", ["grace@example.com"], message("Your order"))
    assert [entry["number"] for entry in browser.json(f"/api/messages?{parameters}")] == expected


def test_a_program_waits_for_a_mail(browser: Browser, store: MailStore) -> None:
    mail = ("a@example.com", ["ada@example.com"], message("Your code"))
    later = threading.Timer(0.1, store.keep, mail)
    later.start()
    shown = browser.json(f"/api/messages/latest?to=ada@example.com&wait={patience(10)}")
    assert (shown["number"], shown["subject"]) == (2, "Your code")
    assert browser.json("/api/messages/latest?after=1")["number"] == 2


def test_a_mail_that_does_not_come_is_404_in_time(browser: Browser) -> None:
    began = time.monotonic()
    answer = browser.get("/api/messages/latest?to=ada@example.com&wait=0.1")
    assert time.monotonic() - began < patience(2)
    assert (answer.status_code, answer.get_json()) == (404, {"error": "No such mail within 0.1 s; 1 others are here."})


@pytest.mark.parametrize("wait", ["61", "-1", "soon", "nan", "inf"])
def test_a_wrong_time_to_wait_is_refused(calm: Browser, wait: str) -> None:
    answer = calm.get(f"/api/messages?wait={wait}")
    assert (answer.status_code, answer.get_json()) == (400, {"error": "wait: expected seconds, from 0 to 60."})


def test_no_mail_leaves_the_machine_unless_that_is_allowed(browser: Browser) -> None:
    assert browser.send("POST", "/api/messages/1/release", {"to": "ada@example.com"}) == 403
    assert "Release" not in browser.get("/mails/1").text


def test_a_mail_is_released_to_real_addresses(releasing: tuple[Browser, list[tuple[int, list[str]]]]) -> None:
    browser, released = releasing
    assert "Release" in browser.get("/mails/1").text
    assert browser.send("POST", "/api/messages/1/release", {"to": "ada@example.com, b@example.com"}) == 200
    assert browser.send("POST", "/api/messages/1/release", {"to": ["c@example.com"]}) == 200
    assert released == [(1, ["ada@example.com", "b@example.com"]), (1, ["c@example.com"])]


@pytest.mark.parametrize("to", [None, [], "", 7, ["a"], ["a@b\r\nRCPT TO:<c@d>"], ["<a@b>"], ["a@b"] * 21, ["a@b@c"]])
def test_a_wrong_address_is_refused(releasing: tuple[Browser, list[tuple[int, list[str]]]], to: object) -> None:
    browser, released = releasing
    assert browser.send("POST", "/api/messages/1/release", {"to": to}) == 400
    assert released == []

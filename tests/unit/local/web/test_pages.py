"""What all pages have in common, and the small ones: logs, faults, tokens, live changes, the API's description."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from google.cloud import firestore

from local.inbox import Inbox, InboxFault
from local.mailstore import MailStore
from local.ports import listening
from local.web import API_FILE, Parts, create_app
from local.web.live import stream
from tests.unit.local.web.conftest import Browser, message

API: dict[str, Any] = yaml.safe_load(API_FILE.read_text(encoding="utf-8"))
PAGES = ("/", "/console", "/queues", "/logs", "/faults")
#: Every request that changes something.
WRITES = [
    ("POST", "/api/documents"),
    ("PUT", "/api/documents/a"),
    ("DELETE", "/api/documents/a"),
    ("POST", "/api/documents/a/retry"),
    ("POST", "/api/documents/a/cancel"),
    ("DELETE", "/api/messages"),
    ("DELETE", "/api/messages/1"),
    ("PATCH", "/api/messages/1"),
    ("POST", "/api/messages/1/release"),
    ("POST", "/api/dead-letters/1/replay"),
    ("DELETE", "/api/dead-letters/1"),
    ("PUT", "/api/faults"),
]


@pytest.mark.parametrize("path", [*PAGES, "/static/console.js", "/static/style.css", "/nowhere"])
def test_pages_load_nothing_from_elsewhere(calm: Browser, path: str) -> None:
    with calm.get(path) as answer:
        assert answer.status_code == (404 if path == "/nowhere" else 200)
        assert "://" not in answer.get_data(as_text=True).replace("127.0.0.1", "").replace("http://:9/", "")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")


@pytest.mark.parametrize("path", PAGES)
def test_the_page_that_is_open_is_marked(calm: Browser, path: str) -> None:
    assert re.findall(r'href="([^"]*)" aria-current="page"', calm.get(path).text) == [path]


@pytest.mark.parametrize("path", [*PAGES, "/api/messages", "/api/tokens/sender"])
def test_another_sites_name_for_this_machine_is_refused(calm: Browser, path: str) -> None:
    assert calm.client.get(path, base_url="http://evil.example").status_code == 400


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_sites_page_can_not_write(calm: Browser, method: str, path: str, headers: dict[str, str]) -> None:
    assert calm.send(method, path, headers=headers) == 403


@pytest.mark.parametrize(("method", "path"), [write for write in WRITES if write[0] != "DELETE"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_can_not_write(calm: Browser, method: str, path: str, kind: str) -> None:
    assert calm.open(method, path, data="{}", content_type=kind).status_code == 415


def test_every_write_is_tried_here() -> None:
    known = {
        (method.upper(), path) for path, operations in API["paths"].items() for method in operations if is_write(method)
    }
    assert {(method, pattern_of(path)) for method, path in WRITES} == known


def is_write(method: str) -> bool:
    return method in ("post", "put", "patch", "delete")


def pattern_of(path: str) -> str:
    kinds = {"messages": "number", "documents": "identifier", "dead-letters": "identifier"}
    parts = path.split("/")
    if len(parts) > 3:
        parts[3] = f"{{{kinds[parts[2]]}}}"
    return "/".join(parts)


def test_our_own_pages_may_write(browser: Browser) -> None:
    headers = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert browser.send("POST", "/api/documents", {"to": "x"}, headers=headers) == 201


@pytest.mark.parametrize("path", ["/api/events", "/api/messages?wait=1", "/api/documents/a?wait=1"])
def test_another_sites_page_can_not_make_us_wait(calm: Browser, path: str) -> None:
    assert calm.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("body", ["", "{", "[]", "7"])
def test_a_body_that_is_no_object_is_refused(calm: Browser, body: str) -> None:
    answer = calm.open("POST", "/api/documents", data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()) == (400, {"error": "Expected a JSON object."})


def test_a_port_that_was_taken_meanwhile_is_told(browser: Browser, inbox: Inbox) -> None:
    assert browser.send("PUT", "/api/faults", {"inbox": "down"}) == 200
    with listening(inbox.port, 0, ""):
        answer = browser.open("PUT", "/api/faults", json={"inbox": "none"})
    assert (answer.status_code, answer.get_json()) == (409, {"error": f"Port {inbox.port} (--smtp-port) is in use."})
    assert browser.send("PUT", "/api/faults", {"inbox": "none"}) == 200


def test_a_body_beyond_all_measure_is_refused(calm: Browser) -> None:
    assert calm.send("POST", "/api/documents", {"to": "x" * 9 * 1024 * 1024}) == 413


def test_tokens_are_signed_for_scripts(calm: Browser) -> None:
    answer = calm.get("/api/tokens/sender")
    assert (answer.text, answer.mimetype) == ("signed\n", "text/plain")
    assert calm.get("/api/tokens/dispatcher").status_code == 404
    assert calm.get("/api/tokens/elsewhere").status_code == 404


def test_logs_are_shown_newest_first_and_filtered(browser: Browser, logs: dict[str, Path]) -> None:
    times = iter(range(10, 60))
    for service, severity, text in (
        ("sender", "INFO", "attempt <sent>"),
        ("dispatcher", "WARNING", "odd"),
        ("sender", "ERROR", "failed"),
    ):
        entry = {
            "time": f"2026-11-26T09:00:{next(times)}Z",
            "severity": severity,
            "message": text,
            "document": "mail/a",
        }
        with logs[service].open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def found(parameters: str = "") -> list[str]:
        return [entry["message"] for entry in browser.json(f"/api/logs?{parameters}")]

    assert found() == ["failed", "odd", "attempt <sent>"]
    assert found("service=sender") == ["failed", "attempt <sent>"]
    assert found("severity=WARNING") == ["failed", "odd"]
    assert found("query=mail/a&limit=1") == ["failed"]
    assert found("query=mail/b") == []
    assert "attempt &lt;sent&gt;" in browser.get("/logs").text


def test_faults_are_switched_on_and_off(browser: Browser, inbox: Inbox, parts: Parts) -> None:
    wish = {"inbox": "delay", "delay": 2, "faults": ["events:duplicate@0.5", " ", "Commit:fail=ABORTED"]}
    shown = browser.open("PUT", "/api/faults", json=wish).get_json()
    specs = ["events:duplicate@0.5", "Commit:fail=ABORTED"]
    assert shown == {"inbox": "delay", "delay": 2, "faults": specs, "counts": {}}
    assert (inbox.fault, inbox.delay) == (InboxFault.DELAY, 2)
    assert browser.send("POST", "/api/documents", {"to": "x"}) == 409
    assert browser.send("PUT", "/api/faults", {"inbox": "none", "faults": []}) == 200
    assert browser.send("POST", "/api/documents", {"to": "x"}) == 201
    assert browser.json("/api/faults")["counts"]
    assert "Commit: ABORTED" in browser.get("/faults").text


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"inbox": "explode"}, "inbox: expected one of none, refuse"),
        ({"inbox": 7}, "inbox: expected a word"),
        ({"inbox": "delay", "delay": 601}, "delay: expected seconds, from 0 to 600"),
        ({"delay": "1"}, "delay: expected seconds"),
        ({"faults": "events:drop"}, "faults: expected a list"),
        ({"faults": ["Comit:fail"]}, "did you mean Commit"),
        ({"faults": ["events:drop", "events:explode"]}, "expected TARGET:WHAT"),
        ({"surprise": 1}, "found surprise"),
    ],
)
def test_a_wrong_fault_is_refused_and_changes_nothing(calm: Browser, body: object, why: str) -> None:
    answer = calm.open("PUT", "/api/faults", json=body)
    assert answer.status_code == 400
    assert why in answer.get_json()["error"]
    assert calm.json("/api/faults") == {"inbox": "none", "delay": 0.0, "faults": [], "counts": {}}


def test_pages_are_told_of_changes() -> None:
    numbers = {"mails": 0, "logs": 0}
    stopping = threading.Event()
    told = stream({"mails": lambda: numbers["mails"], "logs": lambda: numbers["logs"]}, stopping)
    assert next(told) == "retry: 1000\n\n"
    numbers["mails"] += 1
    assert next(told) == "event: change\ndata: mails\n\n"
    numbers["mails"] += 1
    numbers["logs"] += 1
    assert [next(told), next(told)] == ["event: change\ndata: mails\n\n", "event: change\ndata: logs\n\n"]
    stopping.set()
    assert list(told) == []


def test_every_part_is_watched(
    parts: Parts, store: MailStore, db: firestore.Client, logs: dict[str, Path], browser: Browser
) -> None:
    stopping = threading.Event()
    app = create_app(parts, stopping)
    answer = app.test_client().get("/api/events", base_url="http://127.0.0.1")
    told = (piece.decode() if isinstance(piece, bytes) else piece for piece in answer.response)
    next(told)
    store.keep("a@example.com", ["b@example.com"], message())
    db.document("mail/a").set({"to": "x"})
    logs["sender"].write_text("{}\n")
    parts.switches.set_inbox("refuse", 0)
    found = {next(told).split()[-1] for _ in range(4)}
    assert found == {"mails", "documents", "logs", "faults"}
    stopping.set()
    assert list(told) == []


def test_the_description_has_every_route_and_no_other(parts: Parts) -> None:
    app = create_app(parts, threading.Event())
    routes = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:int:)?(\w+)>", r"{\1}", str(rule))
        path = re.sub(r"<any\(dispatcher, sender\):service>", "{service}", path)
        for wish in re.findall(r"<any\((.*)\):wish>", path)[:1] or [""]:
            for word in wish.split(", "):
                full = re.sub(r"<any\(.*\):wish>", word, path)
                routes |= {(full, method.lower()) for method in rule.methods or () if full.startswith("/api/")}
    described = {
        (path, method) for path, operations in API["paths"].items() for method in operations if method != "parameters"
    }
    assert {route for route in routes if route[1] not in ("head", "options")} == described


def schema_of(path: str, method: str, status: str) -> dict[str, Any]:
    answer = API["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = API["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return {**schema, "components": API["components"]}


@pytest.mark.parametrize(
    ("path", "pattern", "status"),
    [
        ("/api/messages", "/api/messages", "200"),
        ("/api/messages/1", "/api/messages/{number}", "200"),
        ("/api/messages/latest", "/api/messages/latest", "200"),
        ("/api/messages/9", "/api/messages/{number}", "404"),
        ("/api/messages?after=x", "/api/messages", "400"),
        ("/api/documents", "/api/documents", "200"),
        ("/api/documents/a", "/api/documents/{identifier}", "200"),
        ("/api/documents/gone", "/api/documents/{identifier}", "404"),
        ("/api/queues", "/api/queues", "200"),
        ("/api/dead-letters", "/api/dead-letters", "200"),
        ("/api/logs", "/api/logs", "200"),
        ("/api/faults", "/api/faults", "200"),
    ],
)
def test_answers_are_as_described(
    browser: Browser,
    store: MailStore,
    db: firestore.Client,
    logs: dict[str, Path],
    path: str,
    pattern: str,
    status: str,
) -> None:
    store.keep("a@example.com", ["b@example.com"], message())
    db.document("mail/a").set({"to": "x", "delivery": {"state": "ERROR", "error": "No."}})
    logs["sender"].write_text('{"message": "sent", "time": "2026-11-26T09:00:00Z", "severity": "INFO"}\n')
    answer = browser.get(path)
    assert str(answer.status_code) == status
    jsonschema.validate(answer.get_json(), schema_of(pattern, "get", status))


def test_the_description_is_served(calm: Browser) -> None:
    assert calm.get("/api/openapi.yaml").text == API_FILE.read_text(encoding="utf-8")

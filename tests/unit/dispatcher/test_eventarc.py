"""Lifecycle events on a channel of Eventarc, over real HTTP, as Trigger Email publishes them.

`golden/eventarc.json` is recorded from firebase-admin by `golden/record.js`.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import google.auth
import google.auth.credentials
import google.auth.exceptions
import pytest
from flask.testing import FlaskClient
from google.events.cloud.firestore_v1 import DocumentEventData

from dispatcher.app import create_app
from dispatcher.event_names import EventType, full_channel
from dispatcher.eventarc import EventarcChannel, connect_emulator, connect_eventarc
from dispatcher.events import EVENT_TYPE
from tests.assembly import DispatcherParts
from tests.fakes import MemoryPublisher
from tests.https_server import HttpsServer
from tests.unit.dispatcher.test_events import ROOT, body

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "eventarc.json").read_text(encoding="utf-8"))
CHANNEL = "projects/demo-shop/locations/europe-west1/channels/firebase"
MAIL: dict[str, Any] = {"to": "a@b.c", "message": {"subject": "s"}}
HEADERS = {
    "ce-type": EVENT_TYPE,
    "ce-id": "e1",
    "ce-source": "//firestore.googleapis.com/projects/p/databases/(default)",
    "ce-time": "2026-11-24T12:00:00.123Z",
    "Content-Type": "application/protobuf",
}


@pytest.fixture
def eventarc() -> Iterator[HttpsServer]:
    with HttpsServer(None) as server:
        server.usually(200, body={})
        yield server


Connect = Callable[..., FlaskClient]


@pytest.fixture
def topic() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def connect(eventarc: HttpsServer, topic: MemoryPublisher) -> Connect:
    """A function that returns a dispatcher's client, with arguments for `EventarcChannel`."""

    def connected(lifecycle: MemoryPublisher | None = None, collection: str = "mail", **options: Any) -> FlaskClient:
        options = {"api": eventarc.url, "retry_seconds": 0, **options}
        place = EventarcChannel(CHANNEL, connect_emulator(1), **options)
        parts = DispatcherParts(topic=topic, lifecycle=lifecycle, eventarc=place)
        return create_app(parts.handlers(), collection, verifier=None).test_client()

    return connected


def change(old: dict[str, Any] | None, new: dict[str, Any] | None) -> bytes:
    """The event of a change of `MAIL`'s `delivery`; None where there is no document, {} where it has no `delivery`."""
    before, after = (None if each is None else MAIL | ({"delivery": each} if each else {}) for each in (old, new))
    return body(before, after)


def published(eventarc: HttpsServer) -> list[Any]:
    return [event for request in eventarc.requests for event in request.json["events"]]


def types(eventarc: HttpsServer) -> list[str]:
    return [event["type"].rpartition(".")[2] for event in published(eventarc)]


def as_javascript(text: str) -> Any:
    """JSON as JavaScript reads it: all numbers are doubles."""
    return json.loads(text, parse_int=float)


@pytest.mark.parametrize("name", GOLDEN)
def test_an_event_is_the_one_that_trigger_email_publishes(name: str, connect: Connect, eventarc: HttpsServer) -> None:
    golden = GOLDEN[name]
    [expected] = golden["body"]["events"]
    event = DocumentEventData.pb().FromString(base64.b64decode(golden["event"]))
    collection = event.value.name.partition("/documents/")[2].rpartition("/")[0]
    client = connect(collection=collection, source=expected["source"], selected=[EventType(expected["type"])])
    data = base64.b64decode(golden["event"])
    if expected["type"] == EventType.PENDING and not event.HasField("old_value"):  # its document lacks the state
        event.value.fields["delivery"].map_value.fields["state"].string_value = "PENDING"
        data = event.SerializeToString()
    assert client.post("/", data=data, headers=HEADERS).status_code == 200
    [request] = eventarc.requests
    [found] = request.json["events"]
    assert (request.method, request.path) == ("POST", golden["path"])
    doc = as_javascript(found.pop("textData"))
    if data != base64.b64decode(golden["event"]):
        del doc["doc"]["delivery"]
    assert doc == as_javascript(expected["textData"])
    assert found == {
        **{key: value for key, value in expected.items() if key != "textData"},
        "id": f"e1/{expected['type'].rpartition('.')[2]}",
        "attributes": {**expected["attributes"], "time": {"ceTimestamp": HEADERS["ce-time"]}},
    }


def test_the_golden_events_are_of_each_type() -> None:
    assert {each["body"]["events"][0]["type"] for each in GOLDEN.values()} == set(EventType)


def test_a_repeated_event_is_published_with_the_same_ids(connect: Connect, eventarc: HttpsServer) -> None:
    client = connect()
    for _ in range(2):
        client.post("/", data=change({"state": "PROCESSING"}, {"state": "SUCCESS"}), headers=HEADERS)
    assert [event["id"] for event in published(eventarc)] == ["e1/onSuccess", "e1/onComplete"] * 2


def test_without_a_source_of_its_own_an_event_comes_from_the_database(connect: Connect, eventarc: HttpsServer) -> None:
    client = connect()
    client.post("/", data=change(None, {}), headers=HEADERS)
    bare = {name: HEADERS[name] for name in ("ce-type", "Content-Type")}
    client.post("/", data=change(None, {}), headers=bare)
    first, second = published(eventarc)
    assert first["source"] == second["source"] == f"//firestore.googleapis.com/{ROOT.removesuffix('/documents')}"
    assert second["attributes"]["time"] == {"ceTimestamp": "2027-01-15T08:00:00Z"}


def test_only_selected_types_are_published(connect: Connect, eventarc: HttpsServer) -> None:
    client = connect(selected=[EventType.ERROR])
    for state in ("SUCCESS", "ERROR"):
        client.post("/", data=change({"state": "PROCESSING"}, {"state": state}), headers=HEADERS)
    assert types(eventarc) == ["onError"]


@pytest.mark.parametrize(
    ("delivery", "has_err"),
    [({"error": "Error: x"}, True), ({"error": None}, True), ({}, False)],
    ids=["text", "null", "absent"],
)
def test_an_error_event_has_the_documents_error(
    connect: Connect, eventarc: HttpsServer, delivery: dict[str, Any], has_err: bool
) -> None:
    client = connect(selected=[EventType.ERROR])
    client.post("/", data=change({"state": "PROCESSING"}, {"state": "ERROR", **delivery}), headers=HEADERS)
    [event] = published(eventarc)
    data = json.loads(event["textData"])
    assert ("err" in data, data.get("err")) == (has_err, delivery.get("error"))


def test_both_places_get_the_events(connect: Connect, eventarc: HttpsServer) -> None:
    followers = MemoryPublisher()
    connect(followers).post("/", data=change({}, {"state": "PENDING"}), headers=HEADERS)
    assert types(eventarc) == ["onPending"]
    assert [attributes["ce-id"] for _, attributes in followers.published] == [
        event["id"] for event in published(eventarc)
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 307, 429, 500, 503])
def test_an_event_that_may_succeed_later_is_delivered_again(
    connect: Connect, eventarc: HttpsServer, status: int
) -> None:
    eventarc.answer(status, {"Location": "http://localhost:1/"}, b"the words of Google")
    client = connect()
    response = client.post("/", data=change(None, {}), headers=HEADERS)
    assert response.status_code == 503
    assert "words" not in response.text
    assert client.post("/", data=change(None, {}), headers=HEADERS).status_code == 200


@pytest.mark.parametrize("manner", ["drop", "nonsense", "half"])
def test_so_is_one_without_an_answer(connect: Connect, eventarc: HttpsServer, manner: str) -> None:
    eventarc.misbehave(manner)
    assert connect().post("/", data=change(None, {}), headers=HEADERS).status_code == 503


def test_so_is_one_to_a_closed_port(connect: Connect) -> None:
    client = connect(api="http://127.0.0.1:1")
    assert client.post("/", data=change(None, {}), headers=HEADERS).status_code == 503


def test_a_transient_failure_is_retried_at_once(connect: Connect, eventarc: HttpsServer) -> None:
    eventarc.answer(503)
    eventarc.misbehave("drop")
    client = connect(retry_seconds=30)
    assert client.post("/", data=change(None, {}), headers=HEADERS).status_code == 200
    assert [event["id"] for event in published(eventarc)] == ["e1/onStart"] * 3


def test_while_the_channel_fails_mails_go_on(connect: Connect, eventarc: HttpsServer, topic: MemoryPublisher) -> None:
    eventarc.usually(403)
    assert connect().post("/", data=change(None, {}), headers=HEADERS).status_code == 503
    assert len(topic.published) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_an_event_that_is_refused_for_good_is_logged_once_and_left_out(
    connect: Connect, eventarc: HttpsServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    eventarc.answer(status, body=b"the document is too large: a@b.c")
    response = connect().post("/", data=change({"state": "PROCESSING"}, {"state": "SUCCESS"}), headers=HEADERS)
    assert response.status_code == 200
    assert types(eventarc) == ["onSuccess", "onComplete"]
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert (record.message, vars(record)["fields"]) == (
        "lifecycle event refused",
        {"document": "mail/a", "reason": "onSuccess"},
    )
    assert "a@b.c" not in caplog.text


class _Credentials(google.auth.credentials.Credentials):
    """As those of a service on Cloud Run: a token that the metadata server gives, or not."""

    def __init__(self, *, refused: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._refused = refused

    def refresh(self, request: object) -> None:
        if self._refused:
            raise google.auth.exceptions.RefreshError("secret words")
        self.token = "t0ken"


@pytest.mark.parametrize(("refused", "status"), [(False, 200), (True, 503)])
def test_outside_an_emulator_the_service_identifies_itself(
    eventarc: HttpsServer, monkeypatch: pytest.MonkeyPatch, refused: bool, status: int
) -> None:
    monkeypatch.setattr(google.auth, "default", lambda scopes: (_Credentials(refused=refused), "shop"))
    place = EventarcChannel(CHANNEL, connect_eventarc(2), api=eventarc.url, retry_seconds=0)
    client = create_app(DispatcherParts(eventarc=place).handlers(), "mail", verifier=None).test_client()
    response = client.post("/", data=change(None, {}), headers=HEADERS)
    assert response.status_code == status
    assert "secret" not in response.text
    assert [each.headers["authorization"] for each in eventarc.requests] == ([] if refused else ["Bearer t0ken"])


class _KeepsAlive(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[list[object]] = []

    def setup(self) -> None:
        super().setup()
        self.connections.append(self)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_a_connection_is_used_again(connect: Connect) -> None:
    _KeepsAlive.connections.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _KeepsAlive) as server:
        server.daemon_threads, server.block_on_close = True, False
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = connect(api=f"http://127.0.0.1:{server.server_port}")
        for _ in range(3):
            assert client.post("/", data=change(None, {}), headers=HEADERS).status_code == 200
        server.shutdown()
    assert len(_KeepsAlive.connections) == 1


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("projects/other/locations/europe-west1/channels/c", "projects/other/locations/europe-west1/channels/c"),
        ("locations/europe-west1/channels/c", "projects/shop/locations/europe-west1/channels/c"),
        ("c", "projects/shop/locations/us-central1/channels/c"),
    ],
)
def test_a_channel_has_the_names_that_firebase_admin_takes(given: str, full: str) -> None:
    assert full_channel(given, "shop") == full

"""The Eventarc stand-in, over real sockets."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from local.eventarc import LARGEST_EVENT, Event, EventReceiver, Forwarder, from_emulator, pause_after
from local.ports import LOOPBACK, free_port
from local.waiting import wait_until
from tests.patience import patience


class Server(ThreadingHTTPServer):
    request_queue_size = 100  # http.server's default of 5 makes connections wait for a repeated SYN


def welcome(number: str) -> int:
    """The answer to an event, by its id."""
    return 200


class Target:
    """A dispatcher that answers each event with `answer`."""

    def __init__(self, answer: Callable[[str], int] = welcome, port: int = 0) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.connections: set[tuple[str, int]] = set()
        self.gate = threading.Event()
        self.gate.set()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                target.received.append((headers, body))
                target.connections.add(self.client_address)
                target.gate.wait(patience(10))
                self.send_response_only(answer(headers["ce-id"]))
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = Server((LOOPBACK, port), Handler)
        self._server.block_on_close = False
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running(url: str, limit_events: bool = True) -> Iterator[Forwarder]:
    forwarder = Forwarder(url, limit_events)
    forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.stop()


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    yield target
    target.close()


def event(number: int = 1) -> Event:
    return Event({"ce-id": str(number), "content-type": "application/protobuf"}, b"\x00\xffraw")


def test_an_event_arrives_with_its_headers_and_raw_body(target: Target) -> None:
    with running(target.url) as forwarder:
        forwarder.post(event())
        assert wait_until(lambda: len(target.received) == 1, patience(5))
    headers, body = target.received[0]
    assert headers["ce-id"] == "1"
    assert headers["content-type"] == "application/protobuf"
    assert body == b"\x00\xffraw"


@pytest.mark.parametrize(
    ("limit_events", "arriving", "warned"), [(True, {"largest"}, ["mail/large"]), (False, {"large", "largest"}, [])]
)
def test_an_event_that_eventarc_would_not_take_is_dropped_with_a_warning(
    target: Target, caplog: pytest.LogCaptureFixture, limit_events: bool, arriving: set[str], warned: list[str]
) -> None:
    headers = {"ce-id": "large", "ce-document": "mail/large"}
    with running(target.url, limit_events) as forwarder:
        forwarder.post(Event(headers, bytes(LARGEST_EVENT + 1)))
        forwarder.post(Event({**headers, "ce-id": "largest"}, bytes(LARGEST_EVENT)))
        assert wait_until(lambda: len(target.received) == len(arriving), patience(5))
    assert {headers["ce-id"] for headers, _ in target.received} == arriving
    assert [message.partition(":")[0] for message in caplog.messages] == warned


def test_slow_answers_do_not_hold_up_other_events(target: Target) -> None:
    target.gate.clear()
    with running(target.url) as forwarder:
        for number in range(10):
            forwarder.post(event(number))
        assert wait_until(lambda: len(target.received) == 10, patience(5))  # before the first is answered
        target.gate.set()


def test_a_burst_uses_a_few_keep_alive_connections(target: Target) -> None:
    with running(target.url) as forwarder:
        for number in range(200):
            forwarder.post(event(number))
        assert wait_until(lambda: len(target.received) == 200, 10)
    assert len(target.connections) <= 32


@pytest.mark.parametrize("status", [pytest.param(status, id=str(status)) for status in (302, 400, 404, 429, 500, 503)])
def test_every_answer_but_2xx_is_delivered_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.eventarc.FIRST_PAUSE", 0.01)
    answers = iter((status, status, 200))
    target = Target(lambda number: next(answers))
    with running(target.url) as forwarder:
        forwarder.post(event())
        assert wait_until(lambda: len(target.received) == 3, patience(5))
    target.close()
    assert {headers["ce-id"] for headers, _ in target.received} == {"1"}


def test_events_wait_for_a_dispatcher_that_is_not_running_yet() -> None:
    port = free_port()
    with running(f"http://{LOOPBACK}:{port}/") as forwarder:
        forwarder.post(event())
        assert wait_until(lambda: forwarder.waiting == 1, patience(5))  # tried and requeued
        target = Target(port=port)
        assert wait_until(lambda: len(target.received) == 1, patience(5))
    target.close()


def test_events_that_always_fail_do_not_block_others() -> None:
    target = Target(lambda number: 500 if number == "bad" else 200)
    with running(target.url) as forwarder:
        for _ in range(100):
            forwarder.post(Event({"ce-id": "bad"}, b""))
        forwarder.post(Event({"ce-id": "good"}, b""))
        assert wait_until(lambda: any(headers["ce-id"] == "good" for headers, _ in target.received), patience(5))
    target.close()


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [pause_after(failures) for failures in (1, 2, 3, 8, 1000)]
    assert pauses == [0.1, 0.2, 0.4, 10.0, 10.0]


def test_the_emulators_event_becomes_eventarcs() -> None:
    sent = {
        "Ce-Id": "1d01",
        "ce-source": "//firestore.googleapis.com/projects/projects/demo-x/databases/(default)",
        "ce-document": "mail/abc",
        "Content-Type": "application/protobuf",
        "User-Agent": "Google-HTTP-Java-Client",
        "Host": "127.0.0.1:1",
    }
    assert from_emulator(sent, base64.b64encode(b"\x0a\x00")) == Event(
        {
            "ce-id": "1d01",
            "ce-source": "//firestore.googleapis.com/projects/demo-x/databases/(default)",
            "ce-document": "mail/abc",
            "content-type": "application/protobuf",
        },
        b"\x0a\x00",
    )


def test_the_emulator_is_answered_without_waiting_for_the_dispatcher() -> None:
    taken: list[Event] = []
    receiver = EventReceiver(taken.append)
    receiver.start()
    url = f"http://{receiver.address}/functions/projects/demo-x/triggers/firepost"
    headers = {"ce-id": "1", "Content-Type": "application/protobuf"}
    good = requests.post(url, base64.b64encode(b"raw"), headers=headers, timeout=patience(5))
    bad = requests.post(url, b"not base64!", headers=headers, timeout=patience(5))
    receiver.stop()
    assert (good.status_code, bad.status_code) == (200, 400)
    assert [event.body for event in taken] == [b"raw"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content-Type": "text/plain"}, id="a form's type"),
        pytest.param({}, id="no type"),
        pytest.param({"Content-Type": "application/protobuf", "Host": "evil.example"}, id="a foreign name"),
        pytest.param({"Content-Type": "application/protobuf", "Origin": "null"}, id="an origin"),
    ],
)
def test_a_web_page_can_make_no_events(headers: dict[str, str]) -> None:
    taken: list[Event] = []
    receiver = EventReceiver(taken.append)
    receiver.start()
    url = f"http://{receiver.address}/functions/projects/demo-x/triggers/firepost"
    answer = requests.post(url, base64.b64encode(b"raw"), headers=headers, timeout=patience(5))
    receiver.stop()
    assert (answer.status_code, taken) == (403, [])

"""The front door of the embedded servers: gRPC gets through, HTTP/1 gets an answer in words, and the ports are ours."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from google.cloud import firestore

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend, relay
from local.backends.embedded.front import Front
from local.errors import CannotStart
from local.waiting import wait_until
from tests.patience import patience


@contextmanager
def asked(address: str, method: str, path: str, body: bytes = b"") -> Iterator[HTTPResponse]:
    connection = HTTPConnection(address, timeout=patience(10))
    try:
        connection.request(method, path, body, {"Origin": "https://app.example"})
        yield connection.getresponse()
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["Firestore", "Pub/Sub"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("GET", "/", b"", id="curl"),
        pytest.param("POST", "/v1/projects/p/databases/(default)/documents:commit", b"{}", id="rest"),
        pytest.param("POST", "/google.firestore.v1.Firestore/Listen/channel?VER=8", b"x" * 3_000_000, id="large"),
    ],
)
def test_an_http_1_request_is_refused_in_words(
    backend: EmbeddedBackend, name: str, method: str, path: str, body: bytes
) -> None:
    address = backend.firestore if name == "Firestore" else backend.pubsub
    with asked(address, method, path, body) as response:
        error = json.loads(response.read())["error"]
        readable_by = response.headers["Access-Control-Allow-Origin"]
    assert (response.status, error["code"], error["status"]) == (501, 501, "UNIMPLEMENTED")
    assert readable_by == "https://app.example"
    assert "--backend google" in response.reason
    assert f"embedded {name}" in error["message"]
    assert "--backend google" in error["message"]


def test_a_browser_may_ask_so_that_it_gets_to_see_the_refusal(backend: EmbeddedBackend) -> None:
    with asked(backend.firestore, "OPTIONS", "/v1/projects/p") as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


@pytest.mark.parametrize(
    ("head", "allows"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\norigin:https://a.example\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nOrigin: a b\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nOrigin: a\nSet-Cookie: b\r\n\r\n", False),
        (b"nonsense", False),
    ],
)
def test_only_an_origin_that_is_one_is_repeated(head: bytes, allows: bool) -> None:
    answer = relay.refusal(head, "Firestore")
    assert (b"Access-Control-Allow-Origin: https://a.example\r\n" in answer) is allows
    assert (b"Access-Control" in answer) is allows
    assert b"Set-Cookie" not in answer


@pytest.mark.parametrize(
    "sent", [b"", b"P", b"PR", b"P\0", b"\x16\x03\x01\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame"]
)
def test_what_is_neither_hurts_nobody(backend: EmbeddedBackend, db: firestore.Client, sent: bytes) -> None:
    host, port = backend.firestore.split(":")
    with socket.create_connection((host, int(port)), timeout=patience(10)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    db.document("mail/a").set({"n": 1})
    assert db.document("mail/a").get().get("n") == 1


def test_large_requests_and_answers_get_through(db: firestore.Client) -> None:
    text = "x" * 900_000
    batch = db.batch()
    for name in "abcdefghi":
        batch.set(db.document(f"mail/{name}"), {"text": text})
    batch.commit()
    assert [one.get("text") == text for one in db.collection("mail").stream()] == [True] * 9


def test_a_port_that_is_taken_is_named(backend: EmbeddedBackend) -> None:
    port = int(backend.pubsub.rpartition(":")[2])
    second = EmbeddedBackend(BackendOptions("p", "mail", "http://127.0.0.1:9/", pubsub_port=port))
    try:
        with pytest.raises(CannotStart, match=rf"Port {port} for Pub/Sub can't be used"):
            second.start()
    finally:
        second.stop()


def test_the_ports_are_free_again_after_the_stop(backend: EmbeddedBackend, db: firestore.Client) -> None:
    db.document("mail/a").set({})
    port = int(backend.firestore.rpartition(":")[2])
    backend.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_the_death_of_the_front_is_reported(tmp_path: Path) -> None:
    told: list[str] = []
    front = Front(told.append)
    front.open(0, tmp_path / "nobody", "Firestore")
    front.start()
    try:
        os.kill(front.process_id, signal.SIGKILL)
        assert wait_until(lambda: bool(told), patience(5))
    finally:
        front.stop()
    assert told == ["The process that listens for Firestore and Pub/Sub died (exit status -9)."]


def test_a_front_that_is_stopped_reports_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    front = Front(told.append)
    front.open(0, tmp_path / "nobody", "Firestore")
    front.start()
    front.stop()
    front.stop()
    assert told == []

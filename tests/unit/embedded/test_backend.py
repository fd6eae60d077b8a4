"""Starting and stopping."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter

from local.backends import Backend, BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client
from local.errors import CannotStart
from local.waiting import wait_until


def options(firestore_port: int = 0, pubsub_port: int = 0) -> BackendOptions:
    return BackendOptions("demo", "mail", "http://127.0.0.1:9/", firestore_port, pubsub_port)


def test_it_is_a_backend() -> None:
    backend: Backend = EmbeddedBackend(options())
    backend.stop()


def test_stopping_leaves_no_thread_and_no_port() -> None:
    before = set(threading.enumerate())
    backend = EmbeddedBackend(options())
    backend.start()
    db = firestore_client(backend.firestore, "demo")
    db.document("mail/a").set({"n": 1})  # an event that nobody accepts
    watch: Any = db.collection("mail").on_snapshot(lambda *_: None)
    watch.unsubscribe()
    db.close()
    backend.stop()
    backend.stop()

    def is_gone() -> bool:
        return not [one for one in set(threading.enumerate()) - before if one.name.startswith("embedded")]

    assert wait_until(is_gone, seconds=3, pause=0.01), threading.enumerate()
    host, port = backend.firestore.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))


@pytest.mark.parametrize("port", ["firestore_port", "pubsub_port"])
def test_a_port_that_is_taken_is_named(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        backend = EmbeddedBackend(options(**{port: number}))
        with pytest.raises(CannotStart, match=f"Port {number}"):
            backend.start()
        backend.stop()


def test_a_requested_port_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        number = reserved.getsockname()[1]
    backend = EmbeddedBackend(options(firestore_port=number))
    backend.start()
    assert backend.firestore == f"127.0.0.1:{number}"
    backend.stop()


def test_reads_are_counted_as_they_are_billed(backend: EmbeddedBackend, db: firestore.Client) -> None:
    def cost(read: Callable[[], object]) -> int:
        before = backend.reads
        read()
        return backend.reads - before

    mail = db.collection("mail")
    for number in range(3):
        mail.document(f"m{number}").set({"n": number})
    assert cost(lambda: mail.document("m0").get()) == 1
    assert cost(lambda: mail.document("missing").get()) == 1
    assert cost(lambda: list(mail.limit(2).stream())) == 2
    assert cost(lambda: list(mail.where(filter=FieldFilter("n", "==", 9)).stream())) == 1
    assert cost(lambda: mail.count().get()) == 1
    assert cost(lambda: list(mail.list_documents())) == 3


def test_it_starts_wherever_temporary_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a Unix socket may have 103 bytes on macOS, where that of a temporary directory has many."""
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    backend = EmbeddedBackend(options())
    backend.start()
    backend.stop()

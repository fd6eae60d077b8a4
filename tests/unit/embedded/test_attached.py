"""A backend that is attached to a Firestore emulator of somebody else; that one is embedded, too, which is quicker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend, attached
from local.clients import firestore_client
from local.errors import CannotStart
from local.waiting import wait_until
from tests.patience import patience
from tests.unit.embedded.conftest import PROJECT, Delivery, Receiver

Start = Callable[..., EmbeddedBackend]


@pytest.fixture
def start(receiver: Receiver) -> Iterator[Start]:
    """Starts backends; those that are attached send their events to the receiver."""
    started: list[EmbeddedBackend] = []

    def start(attach_to: str | None = None, collection: str = "mail", port: int = 0) -> EmbeddedBackend:
        url = "http://127.0.0.1:9/" if attach_to is None else receiver.url
        options = BackendOptions(PROJECT, collection, url, firestore_port=port, attach_to=attach_to)
        started.append(EmbeddedBackend(options))
        started[-1].start()
        return started[-1]

    yield start
    for backend in reversed(started):
        backend.stop()


@pytest.fixture
def emulator(start: Start) -> EmbeddedBackend:
    return start()


@pytest.fixture
def db(emulator: EmbeddedBackend) -> Iterator[firestore.Client]:
    client = firestore_client(emulator.firestore, PROJECT)
    yield client
    client.close()


def told(delivery: Delivery) -> tuple[str, Any, Any]:
    """The document of an event, and its state before and after: None if there was none."""
    data = DocumentEventData.deserialize(delivery.body)
    states = [
        value.fields["delivery"].map_value.fields["state"].string_value
        if "delivery" in value.fields
        else bool(value.name)
        for value in (data.old_value, data.value)
    ]
    return (data.value.name or data.old_value.name).partition("/documents/")[2], *states


def delivery(state: str) -> dict[str, Any]:
    return {"to": "ada@example.com", "delivery": {"state": state}}


@pytest.mark.parametrize("collection", ["mail", "tenants/t/mail"])
def test_writes_after_the_start_become_events(
    emulator: EmbeddedBackend, db: firestore.Client, start: Start, receiver: Receiver, collection: str
) -> None:
    db.document(f"{collection}/before").set({"to": "x"})
    db.document(f"{collection}/done").set(delivery("SUCCESS"))
    start(emulator.firestore, collection)
    document = db.document(f"{collection}/a")
    steps: list[Callable[[], Any]] = [
        lambda: document.set({"to": "ada@example.com"}),
        lambda: document.set(delivery("PENDING")),
        lambda: db.document(f"{collection}/done").update({"delivery.state": "RETRY"}),
        lambda: db.document(f"{collection}/done").delete(),
    ]
    for number, step in enumerate(steps, 1):
        db.document("other/x").set({"n": number})
        step()
        receiver.wait_for(number)
    assert [told(one) for one in receiver.deliveries] == [
        (f"{collection}/a", False, True),
        (f"{collection}/a", True, "PENDING"),
        (f"{collection}/done", "SUCCESS", "RETRY"),
        (f"{collection}/done", "RETRY", False),
    ]


def test_the_client_of_the_application_gets_the_emulator_s_address(emulator: EmbeddedBackend, start: Start) -> None:
    assert start(emulator.firestore).firestore == emulator.firestore


def test_the_emulator_keeps_running_and_its_documents_stay(
    emulator: EmbeddedBackend, db: firestore.Client, start: Start
) -> None:
    backend = start(emulator.firestore)
    db.document("mail/a").set({"n": 1})
    backend.stop()
    assert db.document("mail/a").get().get("n") == 1


def test_what_changed_while_the_emulator_was_lost_is_told_when_it_is_back(
    emulator: EmbeddedBackend, db: firestore.Client, start: Start, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "PAUSE_SECONDS", 0.05)
    port = int(emulator.firestore.rpartition(":")[2])
    db.document("mail/gone").set(delivery("SUCCESS"))
    start(emulator.firestore)
    emulator.stop()
    again = firestore_client(start(port=port).firestore, PROJECT)
    again.document("mail/new").set({"to": "ada@example.com"})
    receiver.wait_for(2)
    again.document("mail/later").set({"to": "ada@example.com"})
    receiver.wait_for(3)
    again.close()
    names = {told(one)[0]: told(one)[1:] for one in receiver.deliveries}
    assert names == {
        "mail/gone": ("SUCCESS", False),
        "mail/new": (False, True),
        "mail/later": (False, True),
    }


def test_the_trigger_moves(emulator: EmbeddedBackend, db: firestore.Client, start: Start, receiver: Receiver) -> None:
    backend = start(emulator.firestore)
    db.document("post/before").set({"to": "x"})
    backend.watch("post")
    db.document("mail/a").set({"to": "x"})
    db.document("post/a").set({"to": "x"})
    receiver.wait_for(1)
    assert wait_until(lambda: backend.wait_until_delivered(patience(5)), patience(5))
    assert [told(one)[0] for one in receiver.deliveries] == ["post/a"]


def test_an_emulator_that_does_not_answer_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "START_SECONDS", 0.2)
    with pytest.raises(CannotStart, match=r"No Firestore emulator answers at 127\.0\.0\.1:9 \(--firestore\)"):
        start("127.0.0.1:9")

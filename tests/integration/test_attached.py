"""The stack beside a Firestore emulator that runs already, as of `firebase emulators:start`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from google.cloud import firestore

from local.clients import firestore_client
from local.options import StackOptions
from local.stack import Stack
from tests.integration.backends import needs_google
from tests.integration.emulator import firestore_emulator, set_rules
from tests.integration.system import PATIENCE, wait_for

#: Takes 10 s and more: an emulator in Java and a stack start, one after the other.
pytestmark = [pytest.mark.integration, needs_google]

PROJECT = "demo-attached"
NOBODY_BUT_SERVERS = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents { match /{document=**} { allow read, write: if false; } }
}
"""
MAIL = {"to": "ada@example.com", "message": {"subject": "Hello", "text": "there"}}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[str]:
    with firestore_emulator(tmp_path / "log") as address:
        set_rules(address, PROJECT, NOBODY_BUT_SERVERS)
        yield address


@pytest.fixture
def db(emulator: str) -> Iterator[firestore.Client]:
    client = firestore_client(emulator, PROJECT)
    yield client
    client.close()


def documents_url(emulator: str) -> str:
    return f"http://{emulator}/v1/projects/{PROJECT}/databases/(default)/documents"


def state(db: firestore.Client, identifier: str) -> object:
    return (db.document(f"mail/{identifier}").get().to_dict() or {}).get("delivery", {}).get("state")


def test_mails_are_sent_whatever_the_rules_and_the_emulator_keeps_running(emulator: str, db: firestore.Client) -> None:
    assert requests.get(f"{documents_url(emulator)}/mail/a", timeout=PATIENCE).status_code == 403
    db.document("mail/before").set(MAIL)
    with Stack(StackOptions(project=PROJECT, firestore=emulator, reconcile_seconds=None)) as stack:
        assert stack.ready["firestore"] == emulator
        db.document("mail/a").set(MAIL)
        wait_for(lambda: state(db, "a") == "SUCCESS", "mail/a is sent", found_instead=lambda: state(db, "a"))
        db.document("mail/a").update({"delivery.state": "RETRY"})
        wait_for(lambda: len(stack.inbox.store.mails()) == 2, "mail/a is sent again")
        wait_for(lambda: state(db, "a") == "SUCCESS", "mail/a is concluded", found_instead=lambda: state(db, "a"))
    db.document("mail/later").set(MAIL, timeout=PATIENCE)
    assert {one.id: state(db, one.id) for one in db.collection("mail").stream()} == {
        "a": "SUCCESS",
        "before": None,  # no trigger tells of what was there before it
        "later": None,
    }

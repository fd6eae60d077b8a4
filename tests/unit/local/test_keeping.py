"""Documents that are kept from one run of the stack to the next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import firestore

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client
from local.errors import CannotStart, PartFailed
from local.keeping import KeptDocuments, load_letters, reserved, save_letters
from shared.pubsub.letters import Letter
from tests.unit.local.conftest import PROJECT

FIELDS: dict[str, Any] = {
    "to": "ada@example.com",
    "message": {"subject": "Grüße", "attachments": [{"content": b"\x00\xff"}]},
    "delivery": {"state": "SUCCESS", "attempts": 1, "endTime": datetime(2026, 11, 26, 9, 0, 0, 123456, UTC)},
    "odd": [None, True, 2**62, 1.5, float("inf"), firestore.GeoPoint(1.0, 2.0), {}],
}


def everything(db: firestore.Client) -> dict[str, dict[str, Any] | None]:
    found = [read for collection in db.collections() for read in collection.stream()]
    found += [read for name in ("drafts",) for read in db.collection_group(name).stream()]
    return {read.reference.path: read.to_dict() for read in found}


def test_all_documents_come_back_as_they_were(backend: EmbeddedBackend, db: firestore.Client, tmp_path: Path) -> None:
    for path in ("mail/a", "templates/hello", "users/ada/drafts/1", *(f"mail/{number}" for number in range(25))):
        db.document(path).set(FIELDS)
    before = everything(db)
    kept = KeptDocuments(tmp_path / "documents.jsonl", backend.firestore, PROJECT)
    assert kept.restore() == 0
    backend.faults.on("RunQuery").nth(1).fail(grpc.StatusCode.ABORTED)
    kept.save()

    other = EmbeddedBackend(BackendOptions("demo-other", "mail", "http://127.0.0.1:9/"))
    other.start()
    other.faults.on("BatchWrite").nth(1).fail(grpc.StatusCode.ABORTED)
    other.faults.on("BatchWrite").nth(2).lose_response()
    client = firestore_client(other.firestore, "demo-other")
    assert KeptDocuments(tmp_path / "documents.jsonl", other.firestore, "demo-other").restore() == 28
    assert everything(client) == before
    client.close()
    other.stop()


def test_nothing_is_saved_before_all_is_restored(backend: EmbeddedBackend, tmp_path: Path) -> None:
    file = tmp_path / "documents.jsonl"
    file.write_text('{"path": "mail/a", "fields": {"to": {"stringValue": "x"}}}\nnot JSON\n')
    kept = KeptDocuments(file, backend.firestore, PROJECT)
    with pytest.raises(PartFailed, match=r"documents\.jsonl can't be restored"):
        kept.restore()
    kept.save()
    assert file.read_text().endswith("not JSON\n")


def test_a_database_that_is_gone_leaves_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "mail", "http://127.0.0.1:9/"))
    backend.start()
    file = tmp_path / "documents.jsonl"
    monkeypatch.setattr("local.keeping.RETRY_SECONDS", 0.3)
    kept = KeptDocuments(file, backend.firestore, PROJECT)
    kept.restore()
    file.write_text("as it was")
    backend.stop()
    kept.save()
    assert file.read_text() == "as it was"
    assert "can't be saved" in caplog.text


def test_a_directory_has_one_stack_at_a_time(tmp_path: Path) -> None:
    with reserved(tmp_path), pytest.raises(CannotStart, match="another local stack uses it"), reserved(tmp_path):
        pass
    with reserved(tmp_path):
        pass


def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match=r"--data .*file: File exists"), reserved(tmp_path / "file"):
        pass


LETTERS = [
    Letter("1", "", b"\x00 not JSON", {"reason": "not-json", "error": "Grüße"}, datetime(2026, 11, 26, tzinfo=UTC)),
    Letter("2", "", b"{}", {}, datetime(2026, 11, 26, tzinfo=UTC)),
]


def test_dead_letters_come_back(tmp_path: Path) -> None:
    file = tmp_path / "dead-letters.jsonl"
    assert load_letters(file) == []
    save_letters(file, lambda: LETTERS)
    found = load_letters(file)
    assert [(each.data, dict(each.attributes)) for each in found] == [
        (letter.data, letter.attributes) for letter in LETTERS
    ]


def test_dead_letters_that_can_not_be_read_leave_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> list[Letter]:
        raise DeadlineExceeded("gone")

    file = tmp_path / "dead-letters.jsonl"
    save_letters(file, lambda: LETTERS)
    save_letters(file, fail)
    assert len(load_letters(file)) == 2
    assert "can't be saved" in caplog.text


@pytest.mark.parametrize("line", ["not JSON", "[]", "{}", '{"data": "?", "attributes": {}}'])
def test_a_file_of_dead_letters_that_is_broken_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "dead-letters.jsonl").write_text(line)
    with pytest.raises(PartFailed, match=r"dead-letters\.jsonl can't be restored"):
        load_letters(tmp_path / "dead-letters.jsonl")

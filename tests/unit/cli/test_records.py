"""Log entries and documents from files, as services, gcloud and the command line write them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cli.records import Document, records
from tests.unit.cli.builders import NOW

ENTRY = {"event": "message", "document": "mail/a", "reason": "deleted"}
SERVICES = json.dumps({"severity": "INFO", "message": "message deleted", **ENTRY})


def found(text: str) -> list[Any]:
    return [record.found for record in records(io.StringIO(text))]


def test_the_services_write_an_entry_per_line() -> None:
    read = list(records(io.StringIO(f"{SERVICES}\n\n{SERVICES}")))
    assert [record.line for record in read] == [1, 3]
    assert [record.found for record in read] == [json.loads(SERVICES)] * 2


@pytest.mark.parametrize("indent", [None, 2])
def test_gcloud_prints_one_array(indent: int | None) -> None:
    text = "\n" + json.dumps([{"insertId": "1", "jsonPayload": ENTRY}, {"textPayload": "x"}], indent=indent)
    assert found(text) == [ENTRY]


def test_a_document_has_times_where_firestore_has_them() -> None:
    delivery = {"state": "SUCCESS", "endTime": "2026-11-24T12:00:00Z", "error": "2026-11-24T12:00:00Z"}
    history = [{"attempt": 1, "startTime": "2026-11-24T12:00:00Z", "endTime": "soon"}, 7]
    [document] = found(
        json.dumps({"document": "mail/a", "createTime": "x", "delivery": {**delivery, "history": history}})
    )
    assert document == Document(
        "mail/a",
        {**delivery, "endTime": NOW, "history": [{"attempt": 1, "startTime": NOW, "endTime": "soon"}, 7]},
    )


@pytest.mark.parametrize("line", ["", "no JSON", "{}", '{"event": 7}', '{"message": "started"}', '{"delivery": {}}'])
def test_other_lines_are_left_out(line: str) -> None:
    assert found(f"{line}\n{SERVICES}\n") == [json.loads(SERVICES)]

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

import pytest

from cli import draft

MAIL = {"to": "ada@example.com", "message": {"subject": "Hi", "text": "Hello"}}


def test_options_win_over_the_file_field_by_field() -> None:
    base = {
        "to": ["a@b.c"],
        "message": {"subject": "old", "text": "kept", "attachments": [{"filename": "1"}]},
        "own": 1,
    }
    flags = {"to": ["x@y.z"], "message": {"subject": "new", "attachments": [{"filename": "2"}]}}
    assert draft.merged(base, flags) == {
        "to": ["x@y.z"],
        "message": {"subject": "new", "text": "kept", "attachments": [{"filename": "1"}, {"filename": "2"}]},
        "own": 1,
    }


def test_an_option_replaces_a_field_of_another_type() -> None:
    assert draft.merged({"message": None}, {"message": {"text": "x"}}) == {"message": {"text": "x"}}


def test_a_header_given_twice_has_two_values() -> None:
    assert draft.parse_headers(["X-A: 1", "X-B:2", "X-A: 3: 4"]) == {"X-A": ["1", "3: 4"], "X-B": ["2"]}


@pytest.mark.parametrize("text", ["X-A", ": value", ""])
def test_a_header_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not 'Name: value'"):
        draft.parse_headers([text])


def test_a_file_of_any_content_can_be_attached() -> None:
    assert draft.attachment(PurePath("dir/a.bin"), b"\x00\xff") == {
        "filename": "a.bin",
        "content": "AP8=",
        "encoding": "base64",
    }


def test_a_mail_is_read_as_a_sender_reads_it() -> None:
    read = draft.checked(draft.inline({**MAIL, "sendAt": "2026-12-24T18:00:00Z"}, "x"), "mail")
    assert read.path == "mail/x"
    assert read.mail == {**MAIL, "sendAt": datetime(2026, 12, 24, 18, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("mail", "identifier", "words"),
    [
        pytest.param({**MAIL, "to": 7}, "x", "Field 'to'", id="not-sendable"),
        pytest.param({**MAIL, "delivery": {}}, "x", "'mail.delivery' is Firepost's", id="delivery"),
        pytest.param({**MAIL, "sendAt": "soon"}, "x", "Field 'sendAt': expected a timestamp", id="no-time"),
        pytest.param(MAIL, "a/b", "'id' must be a Firestore document id", id="no-id"),
    ],
)
def test_an_invalid_mail_is_refused_at_once(mail: dict[str, Any], identifier: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        draft.checked(draft.inline(mail, identifier), "mail")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(datetime(2026, 1, 31, 9), "2026-01-31T09:00:00+00:00", id="without-zone-is-UTC"),
        pytest.param(datetime(2026, 1, 31, 9, tzinfo=UTC), "2026-01-31T09:00:00+00:00", id="UTC"),
    ],
)
def test_a_time_as_yaml_reads_it_becomes_text(value: datetime, text: str) -> None:
    assert json.loads(draft.inline({"sendAt": value}, "x"))["mail"] == {"sendAt": text}


def test_other_yaml_values_are_refused() -> None:
    with pytest.raises(ValueError, match="a value of the type date can't be in a mail"):
        draft.inline({"subject": date(2026, 1, 31)}, "x")


@pytest.mark.parametrize("text", ["[]", "1", "null"])
def test_a_file_holds_one_mail_document(text: str) -> None:
    with pytest.raises(ValueError, match="must hold one mail document"):
        draft.parse_file(text)


def test_without_pyyaml_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert draft.parse_file('{"to": "a@b.c"}') == {"to": "a@b.c"}
    with pytest.raises(ValueError, match=r"not JSON \(Expecting .*\), and reading YAML needs PyYAML"):
        draft.parse_file("to: a@b.c")


def test_with_pyyaml_text_that_is_not_json_is_read_as_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    def safe_load(text: str) -> Any:
        if text == "to: a@b.c":
            return {"to": "a@b.c"}
        raise SyntaxError("in line 1,\n  column 2")

    monkeypatch.setitem(sys.modules, "yaml", SimpleNamespace(safe_load=safe_load, YAMLError=SyntaxError))
    assert draft.parse_file("to: a@b.c") == {"to": "a@b.c"}
    with pytest.raises(ValueError, match=r"neither JSON nor YAML \(in line 1, column 2\)"):
        draft.parse_file("{")

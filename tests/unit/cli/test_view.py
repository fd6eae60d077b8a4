from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds

from cli.output import json_line, one_line, printable
from cli.view import (
    COUNT_COLUMNS,
    Count,
    count_record,
    count_row,
    letter_details,
    letter_record,
    mail_details,
    mail_record,
    mail_row,
)
from tests.unit.cli.builders import NOW, letter, mail


def test_details_show_all_of_delivery_in_reading_order() -> None:
    info = {"accepted": ["a@b.c", "d@e.f"], "rejected": [], "response": "250 OK"}
    text = mail_details(mail(state="SUCCESS", more=7, info=info, endTime=NOW, attempts=1, error=None), NOW).plain
    assert text.splitlines() == [
        "mail/a  SUCCESS",
        "  error          -",
        "  attempts       1",
        "  endTime        2026-11-24 12:00:00Z (0 s ago)",
        "  createTime     2026-11-24 12:00:00Z (0 s ago)",
        "  info.accepted  a@b.c, d@e.f",
        "  info.rejected  -",
        "  info.response  250 OK",
        "  more           7",
    ]


@pytest.mark.parametrize(("lane", "shown"), [("bulk", "bulk"), (None, None), (7, None)])
def test_the_lane_that_a_document_names_is_shown(lane: object, shown: str | None) -> None:
    found = replace(mail(state="PENDING"), fields={"lane": lane, "delivery": {"state": "PENDING"}})
    assert mail_record(found).get("lane") == shown
    lines = mail_details(found, NOW).plain.splitlines()
    assert [line.split() for line in lines if "lane" in line] == ([["lane", shown]] if shown else [])


def test_a_row_tells_code_attempts_age_and_error() -> None:
    failed = mail(state="ERROR", errorCode="auth", attempts=2, error="535\n no", endTime=NOW - timedelta(hours=3))
    assert list(map(str, mail_row(failed, NOW))) == ["mail/a", "ERROR", "auth", "2", "3 h", "535 no"]
    assert list(map(str, mail_row(mail(), NOW))) == ["mail/a", "(new)", "", "0", "0 s", ""]


def test_a_row_of_a_mail_that_some_did_not_get_says_how_many() -> None:
    info = {"accepted": ["a", "b"], "rejected": ["c"], "pending": ["d"]}
    assert str(mail_row(mail(state="SUCCESS", info=info), NOW)[-1]) == "accepted for 2 of 4"
    assert str(mail_row(mail(state="SUCCESS", info=info | {"rejected": [], "pending": []}), NOW)[-1]) == ""
    assert str(mail_row(mail(state="SUCCESS", info=info | {"withheld": ["e"]}), NOW)[-1]) == (
        "accepted for 2 of 4, 1 withheld"
    )


@pytest.mark.parametrize(
    ("count", "cells"),
    [
        (Count("state", "ERROR", 1_234, 4_936), ["state", "ERROR", "1234", "25.0%"]),
        (Count("state", None, 0, 10), ["state", "(none)", "0", "0.0%"]),
        (Count("error-code", "auth", 1, 100_000), ["error-code", "auth", "1", "<0.1%"]),
        (Count("all", None, 0, 0), ["all", "", "0", "0.0%"]),
        (Count("state", "SUCCESS", 11, 10), ["state", "SUCCESS", "11", "100.0%"]),
    ],
)
def test_a_count_has_a_number_for_scripts_and_a_share(count: Count, cells: list[str]) -> None:
    assert list(map(str, count_row(count, with_bar=False))) == cells


@pytest.mark.parametrize(("mails", "length"), [(0, 0), (1, 1), (500, 10), (1_000, 20)])
def test_a_count_on_a_terminal_has_a_bar_which_is_seen_if_there_is_any_mail(mails: int, length: int) -> None:
    row = count_row(Count("state", "ERROR", mails, 1_000), with_bar=True)
    assert (len(row), str(row[-1])) == (len(COUNT_COLUMNS), "#" * length)
    assert str(count_row(Count("all", None, 1_000, 1_000), with_bar=True)[2]) == "1,000"


def test_a_count_as_json_has_null_for_no_name() -> None:
    assert count_record(Count("state", None, 1, 3)) == {
        "counted": "state",
        "name": None,
        "mails": 1,
        "share": 0.333333,
    }


def test_no_outside_text_can_control_the_terminal() -> None:
    assert printable("a\x1b[31m\x9b1m\u202eb\nc\xff") == "a\\x1b[31m\\x9b1m\\u202eb\nc\xff"
    assert one_line("a\r\n\tb\x07") == "a b\\x07"
    hostile = letter({"\x1b[x": "\x1b]0;y"}, b'"\xc2\x9b31m"')
    shown = letter_details(hostile, NOW).plain + str(mail_row(mail(state="\x1b"), NOW)[1])
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_scripts_get_one_line_of_json_with_times_in_rfc_3339() -> None:
    time = DatetimeWithNanoseconds.from_rfc3339("2026-11-24T12:00:00.5Z")
    line = json_line(mail_record(mail(created=time, state="ERROR", error="Ünlucky\n", blob=b"\xff")))
    assert line.isascii() and "\n" not in line
    assert json.loads(line) == {
        "document": "mail/a",
        "createTime": "2026-11-24T12:00:00.500000Z",
        "delivery": {"state": "ERROR", "error": "Ünlucky\n", "blob": "/w=="},
    }


def test_a_letters_record_does_not_show_its_content() -> None:
    record = letter_record(letter(data=b'{"mail": {"to": "secret@example.com"}, "id": "x"}'), "mail")
    assert record["document"] == "mail/x"
    assert "secret" not in json_line(record)


def test_a_dead_letters_data_is_shown_on_request_if_it_is_text() -> None:
    assert '"to": "ä"' in letter_details(letter(data='{"to": "ä"}'.encode()), NOW).plain
    assert r"\xff nope" in letter_details(letter(data=b"\xff nope"), NOW).plain

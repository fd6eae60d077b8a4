from __future__ import annotations

import json
from datetime import timedelta

from google.api_core.datetime_helpers import DatetimeWithNanoseconds

from cli.output import json_line, one_line, printable
from cli.view import letter_details, letter_record, mail_details, mail_record, mail_row
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


def test_a_row_tells_code_attempts_age_and_error() -> None:
    failed = mail(state="ERROR", errorCode="auth", attempts=2, error="535\n no", endTime=NOW - timedelta(hours=3))
    assert list(map(str, mail_row(failed, NOW))) == ["mail/a", "ERROR", "auth", "2", "3 h", "535 no"]
    assert list(map(str, mail_row(mail(), NOW))) == ["mail/a", "(new)", "", "0", "0 s", ""]


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

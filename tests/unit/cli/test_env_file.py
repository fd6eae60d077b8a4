"""The two kinds of `.env` files that the Firebase CLI writes, and what people make of them."""

from __future__ import annotations

import time

import pytest

from cli.env_file import Line, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("A=b", "b", id="plain"),
        pytest.param("A=", "", id="empty"),
        pytest.param("export A = b ", "b", id="as-in-a-shell"),
        pytest.param("A=b=c", "b=c", id="equals"),
        pytest.param('A="b c"', "b c", id="quoted"),
        pytest.param("A='b \"c\"'", 'b "c"', id="single-quoted"),
        pytest.param(r'A="b\nc\t\"d\" \\ \'e\'"', "b\nc\t\"d\" \\ 'e'", id="escapes-of-the-firebase-cli"),
        pytest.param('A="b\nc"', "b\nc", id="over-two-lines"),
        pytest.param('A="b" # why', "b", id="quoted-with-comment"),
        pytest.param("A=b # why", "b", id="comment"),
        pytest.param("A=# why", "", id="only-a-comment"),
        pytest.param("A=pa#ss", "pa#ss", id="number-sign-within"),
        pytest.param('A="Ada Lovelace" <ada@example.com>', '"Ada Lovelace" <ada@example.com>', id="quotes-of-a-name"),
        pytest.param("A=O'Hara <o@example.com>", "O'Hara <o@example.com>", id="apostrophe"),
        pytest.param('A="never closed', '"never closed', id="never-closed"),
        pytest.param("A=${param:PROJECT_ID}.x", "${param:PROJECT_ID}.x", id="parameter"),
    ],
)
def test_a_value_is_read_as_it_was_meant(text: str, value: str) -> None:
    assert [line.value for line in read(text)] == [value]


def test_comments_and_blank_lines_are_left_out_and_unreadable_lines_are_numbered() -> None:
    text = "\ufeff# a\r\n\r\nA=1\r\nwhat\nfirebaseextensions.v1beta.function/location=us-central1\n  # b\nB=2"
    assert list(read(text)) == [
        Line(3, "A", "1", raw=True),
        Line(4, ""),
        Line(5, "firebaseextensions.v1beta.function/location", "us-central1", raw=True),
        Line(7, "B", "2", raw=True),
    ]


@pytest.mark.parametrize(("text", "raw"), [("A=b ", True), ("A=b # c", False), ('A="b"', False), ("A='b'", False)])
def test_a_value_that_stands_there_as_it_is_is_known(text: str, raw: bool) -> None:
    assert [line.raw for line in read(text)] == [raw]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('A="' * 30_000, id="quotes"),
        pytest.param('A="x\n' * 20_000, id="open-quotes"),
        pytest.param("A=" + " " * 100_000 + "#", id="spaces"),
        pytest.param('A="' + "\\" * 100_001, id="backslashes"),
        pytest.param("=" * 100_000, id="equals"),
    ],
)
def test_reading_takes_linear_time(text: str) -> None:
    began = time.process_time()
    list(read(text))
    assert time.process_time() - began < 2

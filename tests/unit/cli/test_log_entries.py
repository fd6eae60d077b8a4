"""JSON objects in text: in each form in which services, gcloud and people's tools write them."""

from __future__ import annotations

import io
import json
import time

import pytest

from cli.log_entries import entries

FOUND = [{"a": 1}, {"b": {"c": ["}", "\n", "{"]}}]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("".join(json.dumps(each) + "\n" for each in FOUND), id="lines"),
        pytest.param(json.dumps(FOUND), id="an-array-in-one-line"),
        pytest.param(json.dumps(FOUND, indent=2), id="an-array-as-gcloud-prints-it"),
        pytest.param("\n".join(json.dumps(each, indent=4) for each in FOUND), id="one-after-another"),
        pytest.param("started\n[INFO] listening\n{oops\n" + "\n".join(map(json.dumps, FOUND)), id="among-other-lines"),
        pytest.param("\n".join(map(json.dumps, FOUND)) + '\n{"cut": "of', id="cut-off"),
        pytest.param("{\n" + "\n".join(map(json.dumps, FOUND)), id="after-a-brace"),
        pytest.param('{\n  "cut":\n' + json.dumps(FOUND, indent=2), id="after-half-an-object"),
    ],
)
def test_objects_are_found_in_each_form(text: str) -> None:
    assert [entry for _, entry in entries(io.StringIO(text))] == FOUND


@pytest.mark.parametrize(
    "text", ["", "\n", "[]", "null\n", "{", '{"a": ' * 5_000, '"' * 5_000], ids=lambda text: text[:9]
)
def test_text_without_objects_has_none(text: str) -> None:
    assert list(entries(io.StringIO(text))) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    ['{"a":[\n', "{\n", "{" * 50 + "\n", '{"a": "' + "x" * 50, " {\n  1,\n", "x" * 50],
    ids=lambda line: line[:7],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(line: str) -> None:
    def seconds(size: int) -> float:
        began = time.process_time()
        assert list(entries(io.StringIO(line * (size // len(line))))) == []
        return time.process_time() - began

    seconds(10_000)
    assert seconds(1_600_000) < 40 * max(seconds(200_000), 0.01)


def test_an_object_has_the_number_of_the_line_in_which_it_begins() -> None:
    text = f"started\n\n{json.dumps(FOUND[0])}\n" + json.dumps(FOUND, indent=2)
    assert [line for line, _ in entries(io.StringIO(text))] == [3, 5, 8]

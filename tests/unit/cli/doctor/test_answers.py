from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.doctor import answers
from cli.doctor.answers import Answer, Question, answer_of
from tests.unit.cli.doctor.apis import denied

QUESTION = Question("run", "v2/x", "run.services.get")
DISABLED = {
    "error": {
        "code": 403,
        "status": "PERMISSION_DENIED",
        "details": [{"reason": "SERVICE_DISABLED", "metadata": {"service": "run.googleapis.com"}}],
    }
}


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"name": "x"}, Answer({"name": "x"})),
        (200, {}, Answer({})),
        (404, {"error": {"code": 404, "status": "NOT_FOUND"}}, Answer(None)),
        (404, None, Answer(None)),
        (403, denied("run.services.list"), Answer(None, "can't tell without the permission run.services.list")),
        (403, denied(None), Answer(None, "can't tell without the permission run.services.get")),
        (403, None, Answer(None, "can't tell without the permission run.services.get")),
        (403, DISABLED, Answer(None, "the API run.googleapis.com is disabled")),
        (503, None, Answer(None, "can't tell: run.googleapis.com answers 503 (no JSON)")),
        (200, None, Answer(None, "can't tell: run.googleapis.com answers 200 (no JSON)")),
        (
            429,
            {"error": {"status": "RESOURCE_EXHAUSTED"}},
            Answer(None, "can't tell: run.googleapis.com answers 429 (RESOURCE_EXHAUSTED)"),
        ),
        (500, {"error": "?"}, Answer(None, "can't tell: run.googleapis.com answers 500 (no JSON)")),
    ],
)
def test_an_answer_is_data_or_missing_or_says_why_nothing_is_known(status: int, body: object, answer: Answer) -> None:
    assert answer_of(QUESTION, status, body) == answer


@pytest.mark.parametrize(
    ("value", "number"),
    [("17", 17), (17, 17), (1.5, 1.5), ("604800s", 604800), ("0.5s", 0.5), ("x", None), (True, None), ([], None)],
)
def test_numbers_may_be_texts_and_durations(value: object, number: float | None) -> None:
    assert answers.number({"a": {"b": value}}, "a", "b") == number


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-26T12:00:00.123456789Z", datetime(2026, 11, 26, 12, 0, 0, 123456, UTC)),
        ("2026-11-26T12:00:00Z", datetime(2026, 11, 26, 12, tzinfo=UTC)),
        ("2026-11-26T12:00:00", None),
        ("soon", None),
        (7, None),
    ],
)
def test_times_have_zones(value: object, moment: datetime | None) -> None:
    assert answers.moment({"at": value}, "at") == moment


@pytest.mark.parametrize("data", [None, [], "x", {"a": None}, {"a": [1, "x", None]}, {"a": {"b": 1}}])
def test_what_has_another_type_counts_as_absent(data: Any) -> None:
    assert answers.text(data, "a", "b") == ""
    assert answers.items(data, "a", "c") == []
    assert answers.mapping(data, "a", "c") == {}
    assert answers.number(data, "a", "c") is None

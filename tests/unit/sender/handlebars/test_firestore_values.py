"""The output of Firestore's own types, which handlebars.js doesn't define."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sender.handlebars import compile_template

NEW_YEAR = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def render(source: str, value: Any) -> str:
    return compile_template(source, "html").render({"v": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(NEW_YEAR, "2026-01-02T03:04:05Z", id="a timestamp"),
        pytest.param(NEW_YEAR.replace(microsecond=120), "2026-01-02T03:04:05.000120Z", id="with microseconds"),
        pytest.param(NEW_YEAR.astimezone(timezone(timedelta(hours=5))), "2026-01-02T03:04:05Z", id="in another zone"),
        pytest.param("projects/p/databases/(default)/documents/users/a", None, id="a reference is its name"),
        pytest.param({"latitude": 52.5, "longitude": 13.4}, "[object Object]", id="a geo point is a map"),
        pytest.param("Grüße".encode(), "Grüße", id="bytes are UTF-8 text"),
        pytest.param(b"\xff<", "\ufffd&lt;", id="or what can be read of it"),
        pytest.param(2**63 - 1, "9223372036854775807", id="large integers are exact"),
        pytest.param(float("nan"), "NaN", id="not a number"),
        pytest.param(float("-inf"), "-Infinity", id="infinity"),
        pytest.param(-0.0, "0", id="negative zero"),
    ],
)
def test_prints(value: Any, text: str | None) -> None:
    assert render("{{v}}", value) == (value if text is None else text)


@pytest.mark.parametrize(
    ("value", "yes"),
    [(NEW_YEAR, True), (b"", True), (float("nan"), False), (-0.0, False), ({"latitude": 0.0}, True)],
)
def test_is_true(value: Any, yes: bool) -> None:
    assert render("{{#if v}}yes{{/if}}", value) == ("yes" if yes else "")


def test_a_timestamps_parts() -> None:
    time = NEW_YEAR.replace(microsecond=120)
    assert render("{{v.seconds}} {{v.nanoseconds}} {{v._seconds}} {{v._nanoseconds}}", time) == (
        "1767323045 120000 1767323045 120000"
    )


def test_a_time_before_1970() -> None:
    assert render("{{v.seconds}}", datetime(1969, 12, 31, 23, 59, 58, 500_000, UTC)) == "-2"


def test_a_geo_points_parts() -> None:
    assert render("{{v.latitude}} {{v.longitude}}", {"latitude": 52.5, "longitude": 13.0}) == "52.5 13"


@pytest.mark.parametrize("value", [NEW_YEAR, b"abc"])
def test_cannot_be_iterated(value: Any) -> None:
    assert render("{{#each v}}x{{else}}none{{/each}}", value) == "none"

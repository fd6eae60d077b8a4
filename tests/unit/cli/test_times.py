from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cli.times import brief, future, past, rfc3339, with_age
from tests.unit.cli.builders import NOW


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_duration_counts_from_now(text: str, before: timedelta) -> None:
    assert past(text, NOW) == NOW - before
    assert future(text, NOW) == NOW + before


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC), id="a-day-begins-in-UTC"),
        pytest.param("2026-01-31T09:00", datetime(2026, 1, 31, 9, tzinfo=UTC), id="without-zone-is-UTC"),
        pytest.param("2026-01-31T09:00Z", datetime(2026, 1, 31, 9, tzinfo=UTC), id="UTC"),
        pytest.param("2026-01-31T09:00+02:00", datetime(2026, 1, 31, 7, tzinfo=UTC), id="another-zone"),
    ],
)
def test_an_iso_time_is_used_unchanged(text: str, time: datetime) -> None:
    assert past(text, NOW) == future(text, NOW) == time


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "yesterday", "2026-13-01", "9" * 30 + "d", "9" * 7 + "w"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2h or 3d nor a time such as"):
        past(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_799, "47 h"), (172_800, "2 d")],
)
def test_an_age_is_shown_in_the_largest_sufficient_unit(seconds: float, text: str) -> None:
    assert brief(seconds) == brief(-seconds) == text


def test_times_are_shown_in_utc() -> None:
    time = datetime(2026, 11, 24, 11, 0, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(time) == "2026-11-24T09:00:00Z"
    assert with_age(time, NOW) == "2026-11-24 09:00:00Z (3 h ago)"
    assert with_age(NOW + timedelta(hours=5), NOW) == "2026-11-24 17:00:00Z (in 5 h)"

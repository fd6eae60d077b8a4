"""Time to live, calculated as in Trigger Email's JavaScript, and the pauses between attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.delivery.policy import BackOff, Policy, Ttl, TtlUnit
from shared.errors import ErrorCode


def day(year: int, month: int, day: int, hour: int = 12) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "ttl", "expected"),
    [
        pytest.param(day(2026, 1, 1), Ttl(36, TtlUnit.HOUR), day(2026, 1, 3, 0), id="hours"),
        pytest.param(day(2026, 1, 31), Ttl(1, TtlUnit.DAY), day(2026, 2, 1), id="days"),
        pytest.param(day(2026, 1, 1), Ttl(2, TtlUnit.WEEK), day(2026, 1, 15), id="weeks"),
        pytest.param(day(2026, 1, 15), Ttl(1, TtlUnit.MONTH), day(2026, 2, 15), id="month"),
        pytest.param(day(2026, 12, 15), Ttl(1, TtlUnit.MONTH), day(2027, 1, 15), id="month-over-the-year"),
        pytest.param(day(2026, 11, 30), Ttl(14, TtlUnit.MONTH), day(2028, 1, 30), id="more-months-than-a-year"),
        pytest.param(day(2026, 1, 31), Ttl(1, TtlUnit.MONTH), day(2026, 3, 3), id="the-31st-runs-over"),
        pytest.param(day(2024, 1, 31), Ttl(1, TtlUnit.MONTH), day(2024, 3, 2), id="in-a-leap-year-by-less"),
        pytest.param(day(2026, 5, 5), Ttl(2, TtlUnit.YEAR), day(2028, 5, 5), id="years"),
        pytest.param(day(2024, 2, 29), Ttl(1, TtlUnit.YEAR), day(2025, 3, 1), id="leap-day-runs-over"),
        pytest.param(day(2026, 12, 31), Ttl(36_500, TtlUnit.YEAR), day(9999, 12, 31), id="no-later-than-firestore-can"),
    ],
)
def test_expiry(start: datetime, ttl: Ttl, expected: datetime) -> None:
    assert ttl.expire_at(start) == expected


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [
        pytest.param(1, 1.0, 30, id="after-the-first-attempt"),
        pytest.param(2, 1.0, 60, id="twice-as-long"),
        pytest.param(5, 1.0, 480, id="and-so-on"),
        pytest.param(8, 1.0, 3600, id="an-hour-at-most"),
        pytest.param(10**9, 1.0, 3600, id="however-many-attempts"),
        pytest.param(5, 0.25, 120, id="full-jitter"),
        pytest.param(5, 0.0, 1, id="a-second-at-least"),
    ],
)
def test_back_off(attempt: int, jitter: float, seconds: float) -> None:
    assert BackOff().delay(attempt, jitter) == timedelta(seconds=seconds)


NOON = day(2026, 11, 26)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
POLICY = Policy(MINUTE)
NOTHING = timedelta()


@pytest.mark.parametrize(
    ("code", "waited", "wanted", "pause"),
    [
        pytest.param(ErrorCode.CONNECTION, NOTHING, NOTHING, 30 * SECOND, id="at-first"),
        pytest.param(ErrorCode.CONNECTION, 29 * SECOND, NOTHING, 30 * SECOND, id="half-a-minute-at-least"),
        pytest.param(ErrorCode.CONNECTION, 31 * SECOND, NOTHING, 31 * SECOND, id="as-long-as-it-has-waited"),
        pytest.param(ErrorCode.CONNECTION, 11 * MINUTE, NOTHING, 10 * MINUTE, id="ten-minutes-at-most"),
        pytest.param(ErrorCode.CONNECTION, NOTHING, 31 * SECOND, 31 * SECOND, id="as-long-as-the-server-wants"),
        pytest.param(ErrorCode.CONNECTION, 51 * MINUTE, NOTHING, 9 * MINUTE, id="until-its-patience-is-over"),
        pytest.param(ErrorCode.CONNECTION, NOTHING, 2 * HOUR, HOUR, id="whatever-the-server-wants"),
        pytest.param(ErrorCode.CONNECTION, HOUR - SECOND, NOTHING, SECOND, id="nearly"),
        pytest.param(ErrorCode.CONNECTION, HOUR, NOTHING, None, id="it-is-over"),
        pytest.param(ErrorCode.AUTH, 4 * MINUTE, NOTHING, MINUTE, id="a-twelfth-for-a-refused-login"),
        pytest.param(ErrorCode.AUTH, 5 * MINUTE, NOTHING, None, id="and-no-longer"),
    ],
)
def test_pauses_in_an_outage(code: ErrorCode, waited: timedelta, wanted: timedelta, pause: timedelta | None) -> None:
    assert POLICY.outage_pause(code, NOON - waited, NOON, wanted) == pause


def test_the_longest_pause_in_an_outage_is_never_longer_than_the_back_offs() -> None:
    assert POLICY.longest_outage_pause == 10 * MINUTE
    impatient = Policy(MINUTE, back_off=BackOff(SECOND, 2 * SECOND))
    assert impatient.longest_outage_pause == 2 * SECOND
    assert impatient.outage_pause(ErrorCode.CONNECTION, NOON - MINUTE, NOON, NOTHING) == 2 * SECOND


@pytest.mark.parametrize(
    ("noted", "since"),
    [
        pytest.param(None, NOON, id="not-noted"),
        pytest.param(NOON, NOON, id="now"),
        pytest.param(NOON - MINUTE, NOON - MINUTE, id="a-while-ago"),
        pytest.param(NOON - 2 * HOUR, NOON - 2 * HOUR, id="as-long-ago-as-a-late-run-may-find-it"),
        pytest.param(NOON - 2 * HOUR - SECOND, NOON, id="too-long-ago"),
        pytest.param(NOON + SECOND, NOON, id="in-the-future"),
    ],
)
def test_since_when_a_mail_waits(noted: datetime | None, since: datetime) -> None:
    assert POLICY.outage_since(noted, NOON) == since

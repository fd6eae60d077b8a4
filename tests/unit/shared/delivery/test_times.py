"""What says a point in time, and what does not: a mail is held back by the first, and never sent with the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.document.document import parse_document
from shared.delivery.machine import on_event, on_message
from shared.delivery.model import DocumentState, Reason
from shared.delivery.policy import Policy
from shared.delivery.times import point_in_time
from shared.errors import ErrorCode, NotSendable

NOON = datetime(2099, 1, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
NOW = datetime(2026, 11, 24, tzinfo=UTC)
POLICY = Policy(timedelta(seconds=60))
MAIL = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NOON, id="timestamp"),
        pytest.param(NOON.astimezone(timezone(timedelta(hours=-5))), id="timestamp-elsewhere"),
        "2099-01-01T12:00:00Z",
        "2099-01-01T12:00:00.000Z",
        "2099-01-01t12:00:00z",
        "2099-01-01 12:00:00+00:00",
        "2099-01-01T13:00:00+01:00",
        "2099-01-01T07:00:00-0500",
        "2099-01-01T17:30+05:30",
        "2099-01-01T12:00:00.000000999Z",
        "20990101T120000Z",
        "2099-W01-4T12Z",
        {"seconds": SECONDS, "nanoseconds": 0},
        {"_seconds": SECONDS, "_nanoseconds": 999},
        {"seconds": SECONDS, "nanoseconds": 0, "type": "firestore/timestamp/1.0"},
    ],
)
def test_a_time_is_waited_for(value: Any) -> None:
    assert point_in_time(value) == NOON
    known = DocumentState.of({**MAIL, "sendAt": value})
    assert known.send_at == NOON
    assert on_event(None, known, NOW, POLICY).reason is Reason.SCHEDULED
    assert on_message(known, NOW, POLICY).reason is Reason.NOT_DUE
    parse_document({**MAIL, "sendAt": value})


NO_TIMES: list[Any] = [
    *("", " ", "tomorrow", "2099-01-01", "2099-01-01T12:00:00", "2099-01-01x12:00:00Z", "2099-13-01T12:00:00Z"),
    *("2099-02-30T12:00:00Z", "2099-01-01T12:00:00Z ", "2099-01-01T12:00:00Z\n", "2099-01-01T12:00:00+99:00"),
    *("Thu Jan 01 2099 12:00:00 GMT+0000", "Thu, 01 Jan 2099 12:00:00 GMT", "4070952000", "٢٠٩٩-٠١-٠١T12:00:00Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "12:00:00Z", "+2099-01-01T12:00:00Z"),
    *(0, 1, SECONDS, SECONDS * 1000, 1.5, float("nan"), float("inf"), True, False, b"2099-01-01T12:00:00Z", [], [NOON]),
    *({}, {"seconds": SECONDS}, {"nanoseconds": 0}, {"seconds": SECONDS, "nanos": 0}, {"seconds": str(SECONDS)}),
    *({"seconds": SECONDS, "nanoseconds": 0, "zone": "CET"}, {"seconds": True, "nanoseconds": 0}),
    *({"seconds": SECONDS, "nanoseconds": 1_000_000_000}, {"seconds": SECONDS, "nanoseconds": -1}),
    *({"seconds": SECONDS, "nanoseconds": None}, {"seconds": 10**30, "nanoseconds": 0}, {"_seconds": SECONDS}),
    *({"seconds": -(10**12), "nanoseconds": 0}, {"seconds": SECONDS, "_nanoseconds": 0}, {"$date": "2099-01-01"}),
    datetime(2099, 1, 1, 12),
]


@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_anything_else_is_an_error_and_no_mail(value: Any) -> None:
    assert point_in_time(value) is None
    with pytest.raises(NotSendable, match=r"^Field 'sendAt': expected a timestamp.*, found ") as refused:
        parse_document({**MAIL, "sendAt": value})
    assert refused.value.code is ErrorCode.VALIDATION


@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_the_error_does_not_wait(value: Any) -> None:
    known = DocumentState.of({**MAIL, "sendAt": value})
    assert on_event(None, known, NOW, POLICY).reason is Reason.NEW
    assert on_message(known, NOW, POLICY).reason is Reason.CLAIMED


def test_no_time_is_no_error() -> None:
    parse_document({**MAIL, "sendAt": None})


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_the_three_forms_say_the_same(time: datetime) -> None:
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    seconds, nanos = since // timedelta(seconds=1), since.microseconds * 1000
    assert point_in_time(time.isoformat()) == time
    assert point_in_time({"seconds": seconds, "nanoseconds": nanos}) == time
    assert point_in_time({"_seconds": seconds, "_nanoseconds": nanos}) == time


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)"))
def test_no_text_is_too_strange(text: str) -> None:
    found = point_in_time(text)
    assert found is None or found.tzinfo is UTC

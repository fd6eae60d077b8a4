"""Firestore values there and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.firestore.values import Reference, Value, decode, encode


def vector(*numbers: dict[str, float]) -> object:
    """A vector as Firestore sends it: a map with its type and its numbers."""
    kind, values = Value(string_value="__vector__"), Value(array_value={"values": [Value(**each) for each in numbers]})
    return Value(map_value={"fields": {"__type__": kind, "value": values}})


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(datetime(1, 1, 1), timezones=st.just(UTC))
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner))


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    again = decode(Value.FromString(encode(value).SerializeToString()))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            Value(reference_value="projects/p/databases/d/documents/a/b"),
            Reference("projects/p/databases/d/documents/a/b"),
            id="reference",
        ),
        pytest.param(
            Value(geo_point_value={"latitude": 1.5, "longitude": -2}),
            {"latitude": 1.5, "longitude": -2.0},
            id="geo-point",
        ),
        pytest.param(Value(), None, id="nothing-set"),
        pytest.param(vector({"double_value": 1.5}, {"double_value": 2}), [1.5, 2.0], id="vector"),
        pytest.param(vector(), [], id="empty-vector"),
        pytest.param(
            Value(array_value={"values": [Value(map_value={"fields": {"v": vector({"double_value": 1})}})]}),
            [{"v": [1.0]}],
            id="vector-inside",
        ),
        pytest.param(
            Value(map_value={"fields": {"__type__": Value(string_value="__vector__")}}),
            {"__type__": "__vector__"},
            id="vector-without-its-numbers",
        ),
        pytest.param(
            Value(map_value={"fields": {"__type__": Value(string_value="x"), "value": Value(array_value={})}}),
            {"__type__": "x", "value": []},
            id="another-type",
        ),
    ],
)
def test_types_that_firepost_only_reads(raw: object, expected: object) -> None:
    assert decode(raw) == expected


@pytest.mark.parametrize("seconds", [-(2**63), -62_135_596_801, 253_402_300_800, 2**63 - 1])
def test_a_time_beyond_the_calendar_is_the_nearest_within(seconds: int) -> None:
    expected = datetime.max if seconds > 0 else datetime.min
    assert decode(Value(timestamp_value={"seconds": seconds})) == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        pytest.param(2**63, ValueError, id="integer-beyond-64-bits"),
        pytest.param("\ud800", ValueError, id="lone-surrogate"),
        pytest.param({1, 2}, TypeError, id="set"),
    ],
)
def test_what_firestore_has_no_room_for(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(value)

"""Firestore values there and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.firestore.values import Value, decode, encode

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
            "projects/p/databases/d/documents/a/b",
            id="reference",
        ),
        pytest.param(
            Value(geo_point_value={"latitude": 1.5, "longitude": -2}),
            {"latitude": 1.5, "longitude": -2.0},
            id="geo-point",
        ),
        pytest.param(Value(), None, id="nothing-set"),
    ],
)
def test_types_that_firepost_only_reads(raw: object, expected: object) -> None:
    assert decode(raw) == expected


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

"""Firestore values there and back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.firestore.values import (
    MAX_VALUES,
    Reference,
    TooMany,
    Value,
    decode,
    decode_deciding,
    decode_document,
    encode,
    encode_fields,
)


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


def test_names_come_in_firestores_order_in_each_process() -> None:
    names = ["b", "a", "\uffff", "\U00010000", "B", "ab"]
    [again] = decode(encode([{outer: {name: 0 for name in names} for outer in names}]))
    assert list(again) == list(again["a"]) == sorted(names, key=str.encode)


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


NULLS = [{"a": [None] * MAX_VALUES}]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        pytest.param({"a": [1] * (MAX_VALUES - 2), "b": "x"}, {"a", "b"}, id="as many as there may be"),
        pytest.param({"a": [1] * (MAX_VALUES - 1), "b": "x"}, {"b"}, id="one more"),
        pytest.param({"a": NULLS, "to": "x"}, {"to"}, id="deep inside"),
        pytest.param({"a": {str(number): {} for number in range(MAX_VALUES)}, "to": "x"}, {"to"}, id="maps"),
        pytest.param({"a": "x" * 900_000, "to": "x"}, {"a", "to"}, id="long texts"),
    ],
)
def test_too_many_values_are_not_decoded(fields: dict[str, object], kept: set[str]) -> None:
    encoded = Value(map_value={"fields": encode_fields(fields)})
    decoded = decode_document(encoded.map_value.fields, encoded.ByteSize())
    assert {name for name, value in decoded.items() if value != TooMany()} == kept
    assert all(decoded[name] == fields[name] for name in kept)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("PENDING", "PENDING"),
        (3, 3),
        ({"seconds": 1, "nanoseconds": 0}, {"seconds": 1, "nanoseconds": 0}),
        ("x" * 2000, "x" * 1000),
        ([None] * 1000, None),
        ({"a": "x" * 1000}, None),
    ],
)
def test_what_decisions_depend_on_is_short(value: object, expected: object) -> None:
    assert decode_deciding(encode(value)) == expected

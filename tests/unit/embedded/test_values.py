"""The order of values, which can be stored, and their size."""

from __future__ import annotations

import math
from typing import Any

import pytest

from local.backends.embedded.failure import Failure
from local.backends.embedded.firestore import values
from local.backends.embedded.firestore.protos import Document, Value
from tests.unit.embedded.documents import document

NAME = "projects/p/databases/(default)/documents/mail/a"


def value(**content: Any) -> Value:
    return Value(**content)


def number(content: float) -> Value:
    return Value(integer_value=content) if isinstance(content, int) else Value(double_value=content)


def array(*elements: float) -> Value:
    return Value(array_value={"values": [number(element) for element in elements]})


def mapping(**fields: float) -> Value:
    return Value(map_value={"fields": {name: number(field) for name, field in fields.items()}})


ASCENDING = [
    value(null_value=0),
    value(boolean_value=False),
    value(boolean_value=True),
    number(math.nan),
    number(-math.inf),
    number(-(2**63)),
    number(-1.5),
    number(0),
    number(2**53),
    number(2**53 + 1),
    number(math.inf),
    value(timestamp_value={"seconds": 1}),
    value(timestamp_value={"seconds": 1, "nanos": 1000}),
    value(string_value=""),
    value(string_value="a"),
    value(string_value="\uffff"),
    value(string_value="\U0001f600"),
    value(bytes_value=b""),
    value(bytes_value=b"\xff"),
    value(reference_value="projects/p/databases/d/documents/a/__id-9223372036854775808__"),
    value(reference_value="projects/p/databases/d/documents/a/__id-7__"),
    value(reference_value="projects/p/databases/d/documents/a/__id7__"),
    value(reference_value="projects/p/databases/d/documents/a/__id7__/c/d"),
    value(reference_value="projects/p/databases/d/documents/a/__id10__"),
    value(reference_value="projects/p/databases/d/documents/a/-"),
    value(reference_value="projects/p/databases/d/documents/a/10"),
    value(reference_value="projects/p/databases/d/documents/a/A"),
    value(reference_value="projects/p/databases/d/documents/a/_"),
    value(reference_value="projects/p/databases/d/documents/a/b"),
    value(reference_value="projects/p/databases/d/documents/a/b/c/d"),
    value(reference_value="projects/p/databases/d/documents/a/b-/c/d"),
    value(geo_point_value={"latitude": -1, "longitude": 5}),
    value(geo_point_value={"latitude": 0, "longitude": 0}),
    array(),
    array(1),
    array(1, 1),
    array(2),
    mapping(),
    mapping(a=1),
    mapping(a=1, b=0),
    mapping(a=2),
    mapping(b=0),
]


def test_values_are_ordered_by_type_and_then_by_value() -> None:
    ordered = sorted(reversed(ASCENDING), key=values.sort_key)
    assert list(map(str, ordered)) == list(map(str, ASCENDING))  # as texts, because NaN is not equal to itself


def test_all_different_values_have_different_keys() -> None:
    assert len({values.sort_key(one) for one in ASCENDING}) == len(ASCENDING)


@pytest.mark.parametrize(
    ("one", "other"), [(number(1), number(1.0)), (number(0.0), number(-0.0)), (array(1), array(1.0))]
)
def test_integers_and_doubles_are_equal_when_their_values_are(one: Value, other: Value) -> None:
    assert values.sort_key(one) == values.sort_key(other)


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {"leaf": 1}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param({"__x__": 1}, "field name __x__ is reserved", id="reserved name"),
        pytest.param({"a": {"__x__": 1}}, "field name __x__ is reserved", id="reserved name further down"),
        pytest.param({"": 1}, "between 1 and 1500 bytes", id="empty name"),
        pytest.param({"é" * 751: 1}, "between 1 and 1500 bytes", id="long name"),
        pytest.param({"a": [[1]]}, "Cannot convert an array value in an array value", id="array in array"),
        pytest.param(nested(20), "Property a contains an invalid nested entity", id="too deep"),
        pytest.param({"a": "x" * 1048488}, '"a" is longer than 1048487 bytes', id="long string"),
    ],
)
def test_values_that_can_not_be_stored_are_refused(data: dict[str, Any], error: str) -> None:
    with pytest.raises(Failure, match=error):
        values.check_storable(document(data).fields)


@pytest.mark.parametrize(
    "data",
    [nested(19), {"a": [{"b": [1]}]}, {"a": "x" * 1048487}, {"n" * 1500: 1}, {"__": 1, "__a": 1}],
    ids=["deep", "array in map in array", "long string", "long name", "nearly reserved"],
)
def test_values_within_the_limits_can_be_stored(data: dict[str, Any]) -> None:
    values.check_storable(document(data).fields)


def test_timestamps_are_cut_to_microseconds() -> None:
    fields = Document(fields={"t": value(timestamp_value={"seconds": 1, "nanos": 1999})}).fields
    values.check_storable(fields)
    assert fields["t"].timestamp_value.nanos == 1000


def test_a_document_may_have_exactly_one_mebibyte() -> None:
    # The name counts 16 + "mail" + 1 + "a" + 1, the document 32, each field its name + 1 and its text + 1.
    room = 1024 * 1024 - (16 + 5 + 2) - 32 - 2 * 3
    fields = {"a": Value(string_value="x" * 500_000), "b": Value(string_value="x" * (room - 500_000))}
    values.check_document_size(Document(name=NAME, fields=fields))
    fields["b"].string_value += "x"
    with pytest.raises(Failure, match="exceeds the maximum allowed size"):
        values.check_document_size(Document(name=NAME, fields=fields))


def test_many_small_values_count_as_much_as_firestore_says() -> None:
    geo_points = Value(array_value={"values": [Value(geo_point_value={})] * 65_530})
    values.check_document_size(Document(name=NAME, fields={"a": geo_points}))
    geo_points.array_value.values.extend([Value(geo_point_value={})] * 10)
    with pytest.raises(Failure, match="exceeds"):
        values.check_document_size(Document(name=NAME, fields={"a": geo_points}))

"""Firestore's values as JSON, and back."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1.vector import Vector
from hypothesis import given, settings
from hypothesis import strategies as st

from local.web.values import MARKS, from_json, to_json

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(firestore.GeoPoint, st.floats(-90, 90), st.floats(-180, 180))
    | st.builds(Vector, st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3))
)
keys = st.text(min_size=1, max_size=3) | st.sampled_from(sorted(MARKS))
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=10
)


def no_reference(path: str) -> Any:
    raise ValueError(path)


@settings(deadline=None)
@given(values)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert from_json(json.loads(json.dumps(to_json(value))), no_reference) == value


def test_not_a_number_comes_back() -> None:
    assert math.isnan(from_json(to_json(math.nan), no_reference))


def test_a_reference_comes_back() -> None:
    reference = firestore.DocumentReference("users", "ada")
    assert to_json([reference]) == [{"$reference": "users/ada"}]
    assert from_json([{"$reference": "users/ada"}], lambda path: ("made of", path)) == [("made of", "users/ada")]


def test_times_of_other_zones_are_told_in_utc() -> None:
    assert from_json({"$timestamp": "2026-11-26T10:00:00+01:00"}, no_reference) == datetime(2026, 11, 26, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        {"$timestamp": "soon"},
        {"$timestamp": "2026-11-26T10:00:00"},
        {"$timestamp": 7},
        {"$bytes": "!"},
        {"$point": [1]},
        {"$vector": ["x"]},
        {"$double": "many"},
        {"$reference": "users"},
        {"$map": 7},
        {"deep": [{"$bytes": None}]},
    ],
    ids=str,
)
def test_a_wrong_mark_is_explained_without_its_value(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^\$\w+: expected ") as refused:
        from_json(value, no_reference)
    assert "soon" not in str(refused.value)

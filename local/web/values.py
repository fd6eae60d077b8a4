"""Firestore's values as JSON, and back without a loss.

JSON has no timestamps, bytes, references, points or NaN: each is an object with one key, such as
{"$timestamp": "2026-11-26T09:00:00.000001+00:00"}, {"$bytes": "aGk="}, {"$reference": "users/ada"},
{"$point": [52.5, 13.4]}, {"$vector": [0.5, 1.0]}, {"$double": "NaN"}. A map of the user's that looks like one is
{"$map": …}.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.cloud import firestore
from google.cloud.firestore_v1.vector import Vector

MARKS: Final = frozenset({"$timestamp", "$bytes", "$reference", "$point", "$vector", "$double", "$map"})


def to_json(value: Any) -> Any:
    """The JSON of a value as Firestore's client gives it; of unknown types, the text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$double": str(value)}
        case datetime():
            return {"$timestamp": value.astimezone(UTC).isoformat()}
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case firestore.GeoPoint():
            return {"$point": [value.latitude, value.longitude]}
        case Vector():
            return {"$vector": list(value)}
        case firestore.DocumentReference():
            return {"$reference": value.path}
        case Mapping():
            plain = {str(key): to_json(each) for key, each in value.items()}
            return {"$map": plain} if len(plain) == 1 and set(plain) <= MARKS else plain
        case list() | tuple():
            return [to_json(each) for each in value]
        case _:
            return str(value)


def from_json(value: Any, reference: Callable[[str], Any]) -> Any:
    """The value of its JSON; `reference` makes a document reference of a path.

    Raises `ValueError`, with a sentence, for a mark with something unexpected.
    """
    if isinstance(value, list):
        return [from_json(each, reference) for each in value]
    if not isinstance(value, dict):
        return value
    mark = next(iter(value)) if len(value) == 1 else ""
    if mark not in MARKS:
        return {key: from_json(each, reference) for key, each in value.items()}
    if mark == "$map" and isinstance(value[mark], dict):
        return {key: from_json(each, reference) for key, each in value[mark].items()}
    try:
        return _marked(mark, value[mark], reference)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{mark}: expected {_EXPECTED[mark]}.") from None


_EXPECTED: Final = {
    "$timestamp": "an ISO 8601 time with a zone, such as 2026-11-26T09:00:00Z",
    "$bytes": "base64",
    "$reference": "a document's path, such as users/ada",
    "$point": "[latitude, longitude]",
    "$vector": "a list of numbers",
    "$double": "NaN, Infinity or -Infinity",
    "$map": "an object",
}


def _marked(mark: str, value: Any, reference: Callable[[str], Any]) -> Any:
    match mark:
        case "$timestamp":
            return _aware(datetime.fromisoformat(value))
        case "$bytes":
            return base64.b64decode(value, validate=True)
        case "$reference":
            return reference(value)
        case "$point":
            latitude, longitude = value
            return firestore.GeoPoint(float(latitude), float(longitude))
        case "$vector":
            return Vector([float(each) for each in value])
        case "$double":
            return float(value)
        case _:
            raise ValueError


def _aware(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError
    return time

"""Firestore documents as Trigger Email's events have them: what JSON.stringify makes of the objects of firebase-admin.

The extension puts either a `DocumentSnapshot` or its `data()` into an event. Their JSON is not specified anywhere; it
follows from the objects' fields. The golden files of the tests are recorded from firebase-admin 13.10 and
firebase-functions 6.6. Differences that no reader of JSON sees (3.0 for 3) are not imitated. Pure.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.firestore.database import RawDocument
from shared.firestore.values import RawValue

#: Beyond these, a number of JavaScript is not exact.
_MAX_SAFE_INTEGER: Final = 2**53


def snapshot(document: RawDocument) -> dict[str, Any]:
    """A document of an event as the JSON of a `DocumentSnapshot`, as an object for `json.dumps`.

    `document.name` is `projects/…/databases/…/documents/…`.
    """
    project, database, segments = _parts(document.name)
    path = {"segments": segments, "projectId": project, "databaseId": database}
    times = {"_createTime": "create_time", "_updateTime": "update_time"}
    return {
        "_fieldsProto": _fields_proto(document.fields),
        "_ref": {"_firestore": {"projectId": project}, "_path": path, "_converter": {}},
        "_serializer": {"allowUndefined": False},
        **{name: _timestamp(getattr(document, field)) for name, field in times.items() if document.HasField(field)},
    }


def data(document: RawDocument) -> dict[str, Any]:
    """A document of an event as the JSON of a snapshot's `data()`, as an object for `json.dumps`."""
    project = _parts(document.name)[0]
    return {name: _plain(value, project) for name, value in document.fields.items()}


def _parts(name: str) -> tuple[str, str, list[str]]:
    """Project, database and path of a resource name; a part that the name lacks is empty."""
    root, _, path = name.partition("/documents/")
    match root.split("/"):
        case ["projects", project, "databases", database]:
            return project, database, path.split("/")
    return "", "", path.split("/")


def _fields_proto(fields: Mapping[str, RawValue]) -> dict[str, Any]:
    return {name: _proto(value) for name, value in fields.items()}


def _proto(value: RawValue) -> dict[str, Any]:
    """A value in protobuf.js's JSON, which has only the fields that are in the message."""
    kind = value.WhichOneof("value_type")
    if kind not in _PROTO:
        return {}
    name, encode = _PROTO[kind]
    return {name: encode(getattr(value, kind))}


def _double(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that are not empty."""
    return {name: each for name, each in fields.items() if each}


_PROTO: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "null_value": ("nullValue", lambda _: "NULL_VALUE"),
    "boolean_value": ("booleanValue", bool),
    "integer_value": ("integerValue", str),
    "double_value": ("doubleValue", _double),
    "timestamp_value": (
        "timestampValue",
        lambda time: _given(seconds=time.seconds and str(time.seconds), nanos=time.nanos),
    ),
    "string_value": ("stringValue", str),
    "bytes_value": ("bytesValue", lambda content: base64.b64encode(content).decode()),
    "reference_value": ("referenceValue", str),
    "geo_point_value": (
        "geoPointValue",
        lambda point: _given(latitude=_double(point.latitude), longitude=_double(point.longitude)),
    ),
    "array_value": ("arrayValue", lambda array: _given(values=[_proto(each) for each in array.values])),
    "map_value": ("mapValue", lambda entries: _given(fields=_fields_proto(entries.fields))),
}


def _plain(value: RawValue, project: str) -> Any:
    """A value as the JSON of the JavaScript value that firebase-admin decodes it to."""
    kind = value.WhichOneof("value_type")
    match kind:
        case "array_value":
            return [_plain(each, project) for each in value.array_value.values]
        case "map_value":
            return _plain_map(value.map_value.fields, project)
        case "reference_value":
            _, _, segments = _parts(value.reference_value)
            return {"_firestore": {"projectId": project}, "_path": {"segments": segments}, "_converter": {}}
    return _PLAIN[kind](getattr(value, kind)) if kind in _PLAIN else None


def _plain_map(fields: Mapping[str, RawValue], project: str) -> dict[str, Any]:
    """A map, or a vector, which Firestore sends as a map."""
    plain = {name: _plain(value, project) for name, value in fields.items()}
    return {"_values": plain.get("value", [])} if plain.get("__type__") == "__vector__" else plain


def _timestamp(time: Any) -> dict[str, int]:
    return {"_seconds": time.seconds, "_nanoseconds": time.nanos}


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "boolean_value": bool,
    "integer_value": lambda number: number if abs(number) <= _MAX_SAFE_INTEGER else float(number),
    "double_value": lambda number: number if math.isfinite(number) else None,
    "timestamp_value": _timestamp,
    "string_value": str,
    "bytes_value": lambda content: {"type": "Buffer", "data": list(content)},
    "geo_point_value": lambda point: {"_latitude": point.latitude, "_longitude": point.longitude},
}

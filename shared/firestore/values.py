"""Converts Firestore's `Value` messages to Python values and back.

It uses the raw protobuf classes, which cost a tenth of the proto-plus wrappers. An event's `google.events…Value` has
the same fields as the API's `Value`, so the same functions decode both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.cloud.firestore_v1.types import document as document_types
from google.protobuf.timestamp_pb2 import Timestamp

Value = document_types.Value.pb()

#: A raw `Value` of the API or of an event. Its class is created at run time, so mypy does not know it.
RawValue = Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a document, by its resource name. It is no string, so no text field can take it for its value."""

    name: str

    def __str__(self) -> str:
        return self.name


#: More values than any mail needs. Firestore allows 40,000 indexed ones in a document, and no number of others.
MAX_VALUES: Final = 50_000
#: A document of fewer bytes can't have more values: each takes at least four, with its place in an array.
_UNCOUNTED_BYTES: Final = 4 * MAX_VALUES
#: The most of a text that decisions depend on, in characters, and of anything else, in bytes.
_MAX_DECIDING: Final = 1_000


@dataclass(frozen=True, slots=True)
class TooMany:
    """Stands for a field with so many values that to decode it would take too much memory and time."""

    def __str__(self) -> str:
        return "…"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def decode(value: RawValue) -> Any:
    """A raw `Value` as None, bool, int, float, str, bytes, list, dict or aware UTC datetime.

    A reference becomes a `Reference`, a geo point `{"latitude": …, "longitude": …}`, a vector a list of its numbers.
    """
    kind = value.WhichOneof("value_type")
    match kind:
        case "string_value":  # most are
            return value.string_value
        case "map_value":
            return _vector(fields) if (fields := decode_fields(value.map_value.fields)).get("__type__") else fields
        case "array_value":
            return [decode(item) for item in value.array_value.values]
        case "timestamp_value":
            return decode_time(value.timestamp_value)
        case "geo_point_value":
            point = value.geo_point_value
            return {"latitude": point.latitude, "longitude": point.longitude}
        case "reference_value":
            return Reference(value.reference_value)
        case "null_value" | None:
            return None
        case _:
            return getattr(value, kind)


def _vector(fields: dict[str, Any]) -> Any:
    """A vector's numbers, because Firestore sends a vector as a map of two entries; any other map as it is."""
    match fields:
        case {"__type__": "__vector__", "value": list() as numbers, **others} if not others:
            return numbers
    return fields


def decode_fields(fields: Mapping[str, RawValue]) -> dict[str, Any]:
    """A raw map of `Value`s as a dict, with the names in Firestore's order.

    Protobuf's order differs from process to process, but a repeated attempt must compose the same mail.
    """
    return {name: decode(fields[name]) for name in sorted(fields)}


def decode_time(time: Timestamp) -> datetime:
    """A protobuf timestamp as an aware UTC datetime in microseconds, Firestore's precision.

    Times outside the years 1 to 9999, which Firestore doesn't support, are clamped.
    """
    try:
        return _EPOCH + timedelta(0, time.seconds, time.nanos // 1000)
    except OverflowError:
        return _LATEST if time.seconds > 0 else _EARLIEST


def decode_document(fields: Mapping[str, RawValue], size: int) -> dict[str, Any]:
    """As `decode_fields`, but at most `MAX_VALUES` values, small fields first; `TooMany` stands for each one beyond.

    `size` is the document's, in bytes.
    """
    if size <= _UNCOUNTED_BYTES:
        return decode_fields(fields)
    left, decoded = MAX_VALUES, {}
    for name, value in sorted(fields.items(), key=lambda field: (field[1].ByteSize(), field[0])):
        count = _count(value, left)
        if count <= left:
            decoded[name] = decode(value)
            left -= count
        else:
            decoded[name] = TooMany()
    return decoded


def _count(value: RawValue, limit: int) -> int:
    """The number of values in a value, itself included; any number above the limit if there are more."""
    count, waiting = 0, [value]
    while waiting and count <= limit:
        item = waiting.pop()
        count += 1
        match item.WhichOneof("value_type"):
            case "array_value":
                inner = item.array_value.values
            case "map_value":
                inner = item.map_value.fields
            case _:
                continue
        if len(inner) > limit:
            return limit + 1
        waiting += inner.values() if isinstance(inner, Mapping) else inner
    return count + len(waiting)


def decode_deciding(value: RawValue) -> Any:
    """As `decode`, for what a decision depends on: a long text is cut, and anything else that is large is None."""
    match value.WhichOneof("value_type"):
        case "string_value":
            return value.string_value[:_MAX_DECIDING]
        case "array_value" | "map_value" if value.ByteSize() > _MAX_DECIDING:
            return None
    return decode(value)


def decode_text(value: RawValue) -> str | None:
    """A text, cut as by `decode_deciding`; None for null, and "" for anything else."""
    match value.WhichOneof("value_type"):
        case "string_value":
            return str(value.string_value[:_MAX_DECIDING])
        case "null_value" | None:
            return None
    return ""


def encode_time(time: datetime) -> Timestamp:
    """An aware datetime as a protobuf timestamp."""
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def encode(value: Any) -> RawValue:
    """A Python value as a raw `Value`; the inverse of `decode` for all values that Firepost writes.

    Raises `TypeError` for unsupported types, and `ValueError` for an integer beyond 64 bits.
    """
    match value:
        case None:
            return Value(null_value=0)
        case bool():
            return Value(boolean_value=value)
        case int():
            return Value(integer_value=value)
        case float():
            return Value(double_value=value)
        case str():
            return Value(string_value=value)
        case bytes():
            return Value(bytes_value=value)
        case datetime():
            return Value(timestamp_value=encode_time(value))
        case list() | tuple():
            return Value(array_value={"values": [encode(item) for item in value]})
        case Mapping():
            return Value(map_value={"fields": encode_fields(value)})
    return _encode_reference(value)


def _encode_reference(value: object) -> RawValue:
    if isinstance(value, Reference):
        return Value(reference_value=value.name)
    raise TypeError(f"Firestore has no type for {type(value).__name__}")


def encode_fields(fields: Mapping[str, Any]) -> dict[str, RawValue]:
    """A mapping as raw `Value`s by name."""
    return {name: encode(value) for name, value in fields.items()}

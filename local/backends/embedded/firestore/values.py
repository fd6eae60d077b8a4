"""Values: their order across types, which may be stored, and their size.

Order: https://firebase.google.com/docs/firestore/manage-data/data-types

Sizes: https://firebase.google.com/docs/firestore/storage-size
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.backends.embedded.failure import invalid
from local.backends.embedded.firestore.fields import Fields
from local.backends.embedded.firestore.names import ROOT_SEGMENTS, is_reserved, ordered, path_of
from local.backends.embedded.firestore.protos import Document, Value

MAX_DOCUMENT_BYTES = 1024 * 1024
#: A string, with its overhead in an index, must fit into a document.
MAX_VALUE_BYTES = MAX_DOCUMENT_BYTES - 89
MAX_FIELD_NAME_BYTES = 1500
MAX_DEPTH = 20
#: The years 1 to 9999, all that a protobuf Timestamp may say.
MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799

#: Compares as Firestore orders values: first the rank of the type, then within the type. Hashable.
SortKey = tuple[Any, ...]


def sort_key(value: Value) -> SortKey:
    """A key that sorts and compares values as Firestore does; integers and doubles mix."""
    return _KEYS[value.WhichOneof("value_type")](value)


def type_rank(value: Value) -> int:
    """The rank of the value's type in the order of types; a range filter only finds values of its own type."""
    rank: int = sort_key(value)[0]
    return 3 if rank == _NAN_RANK else rank  # NaN is a number, although it sorts before all others


def name_key(document_name: str) -> SortKey:
    """A key that orders documents by name as `__name__` does: segment by segment."""
    return (7, ordered(document_name))


_NAN_RANK = 2


def number_key(number: float) -> SortKey:
    """The sort key of a number; integers stay exact."""
    return (_NAN_RANK,) if number != number else (3, number)


def _map_key(value: Value) -> SortKey:
    entries = value.map_value.fields
    if "__type__" in entries and entries["__type__"].string_value == "__vector__":
        numbers = entries["value"].array_value.values
        return (10, len(numbers), tuple(sort_key(number) for number in numbers))
    return (11, tuple((name, sort_key(entries[name])) for name in sorted(entries)))


_KEYS: dict[str | None, Callable[[Value], SortKey]] = {
    None: lambda _: (0,),
    "null_value": lambda _: (0,),
    "boolean_value": lambda value: (1, value.boolean_value),
    "integer_value": lambda value: (3, value.integer_value),
    "double_value": lambda value: number_key(value.double_value),
    "timestamp_value": lambda value: (4, value.timestamp_value.seconds, value.timestamp_value.nanos),
    "string_value": lambda value: (5, value.string_value),  # code points sort as UTF-8 does
    "bytes_value": lambda value: (6, value.bytes_value),
    "reference_value": lambda value: name_key(value.reference_value),
    "geo_point_value": lambda value: (8, value.geo_point_value.latitude, value.geo_point_value.longitude),
    "array_value": lambda value: (9, tuple(sort_key(element) for element in value.array_value.values)),
    "map_value": _map_key,
}


def check_storable(fields: Fields, depth: int = 1, top: str = "") -> None:
    """Raise INVALID_ARGUMENT if a name or value can't be stored; truncate timestamps to microseconds."""
    for name, value in fields.items():
        if is_reserved(name) and not _marks_vector(name, value):
            raise invalid(f"field name {name} is reserved")
        if not name or len(name.encode()) > MAX_FIELD_NAME_BYTES:
            raise invalid(f"A field name must have between 1 and {MAX_FIELD_NAME_BYTES} bytes.")
        _check_value(value, depth, top or name)


def _marks_vector(name: str, value: Value) -> bool:
    return name == "__type__" and value.string_value == "__vector__"


def _check_value(value: Value, depth: int, top: str) -> None:
    kind = value.WhichOneof("value_type")
    if depth > MAX_DEPTH:
        raise invalid(f"Property {top} contains an invalid nested entity.")
    if kind == "map_value":
        check_storable(value.map_value.fields, depth + 1, top)
    elif kind == "array_value":
        for element in value.array_value.values:
            if element.HasField("array_value"):
                raise invalid("Cannot convert an array value in an array value.")
            _check_value(element, depth + 1, top)
    elif kind == "timestamp_value":
        time = value.timestamp_value
        if not (MIN_SECONDS <= time.seconds <= MAX_SECONDS and 0 <= time.nanos < 1_000_000_000):
            raise invalid(f'The timestamp of property "{top}" is not between the years 1 and 9999.')
        time.nanos -= time.nanos % 1000
    elif kind == "string_value" and len(value.string_value.encode()) > MAX_VALUE_BYTES:
        raise invalid(f'The value of property "{top}" is longer than {MAX_VALUE_BYTES} bytes.')


def check_document_size(document: Document) -> None:
    """Raise INVALID_ARGUMENT if a document exceeds 1 MiB as Firestore calculates sizes."""
    if document.ByteSize() < MAX_DOCUMENT_BYTES // 8:
        return  # protobuf's compact integers are smaller than Firestore's count by at most that much
    size = _name_size(document.name) + _fields_size(document.fields) + 32
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            f"Document '{document.name}' cannot be written because its size ({size:,} bytes) "
            f"exceeds the maximum allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def _name_size(name: str) -> int:
    return 16 + sum(len(segment.encode()) + 1 for segment in path_of(name).split("/"))


def _fields_size(fields: Fields) -> int:
    return sum(len(name.encode()) + 1 + _value_size(value) for name, value in fields.items())


def _value_size(value: Value) -> int:
    kind = value.WhichOneof("value_type")
    return _SIZES[kind](value)


_SIZES: dict[str | None, Callable[[Value], int]] = {
    None: lambda _: 1,
    "null_value": lambda _: 1,
    "boolean_value": lambda _: 1,
    "integer_value": lambda _: 8,
    "double_value": lambda _: 8,
    "timestamp_value": lambda _: 8,
    "string_value": lambda value: len(value.string_value.encode()) + 1,
    "bytes_value": lambda value: len(value.bytes_value),
    "reference_value": lambda value: _reference_size(value.reference_value),
    "geo_point_value": lambda _: 16,
    "array_value": lambda value: sum(_value_size(element) for element in value.array_value.values),
    "map_value": lambda value: _fields_size(value.map_value.fields),
}


def _reference_size(name: str) -> int:
    return _name_size(name) if name.count("/") >= ROOT_SEGMENTS else len(name.encode()) + 1

"""JavaScript's semantics for values: truthiness, conversion to strings, properties.

Data consists of values from `shared.firestore.values.decode`. Templates can access the entries of a dict, the items of
a list, the characters of a string, the `length` of lists and strings and the parts of a timestamp, but never an
attribute of a Python object.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any


class Undefined(Enum):
    """JavaScript's `undefined`, as distinct from null."""

    UNDEFINED = "undefined"


UNDEFINED = Undefined.UNDEFINED

_SPECIAL = re.compile("[&<>\"'`=]")
_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#x27;",
    "`": "&#x60;",
    "=": "&#x3D;",
}
_SCALARS = (str, int, float)  # a bool is an int
_NUMBERS = (int, float)
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_MAX_INDEX = 2**32 - 2
_MAX_EXACT = 2**53


def is_nothing(value: Any) -> bool:
    """Whether the value is null or undefined."""
    return value is None or value is UNDEFINED


def is_true(value: Any) -> bool:
    """Whether the value is truthy in JavaScript: empty lists and maps are, NaN isn't."""
    if isinstance(value, _SCALARS):
        return bool(value) and value == value
    return value is not None and value is not UNDEFINED


def is_empty(value: Any) -> bool:
    """Whether the value is empty for `{{#if}}` and `{{#with}}`: an empty list is, 0 isn't."""
    if isinstance(value, list):
        return not value
    return not is_true(value) and not (isinstance(value, int | float) and not isinstance(value, bool) and value == 0)


def escape(text: str) -> str:
    """Escape text for HTML content and quoted attributes."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text) if _SPECIAL.search(text) else text


def text_of(value: Any) -> str:
    """The output of a value: nothing for null and undefined, otherwise `string_of`."""
    return "" if is_nothing(value) else string_of(value)


def string_of(value: Any) -> str:
    """JavaScript's `String(value)`, except for Firestore's own types.

    A timestamp becomes ISO 8601 in UTC (`2026-01-02T03:04:05Z`), bytes are decoded as UTF-8.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case None:
            return "null"
        case list():
            return ",".join(map(text_of, value))
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
        case bytes():
            return value.decode("utf-8", "replace")
        case Undefined():
            return "undefined"
        case _:
            return "[object Object]"


def number_of(text: str) -> int | float:
    """A number literal's value."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _MAX_EXACT else value


def _number(value: int | float) -> str:
    """A number as printed by ECMAScript (section 6.1.6.1.20), but with exact integers beyond 2^53."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if 1e-3 < abs(value) < 1e15:
        return repr(value).removesuffix(".0")  # Python and JavaScript agree in this range
    if value == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits, minus = "".join(map(str, digit_tuple)), "-" if sign else ""
    point = len(digits) + int(exponent)  # the position of the decimal point, relative to the first digit
    if len(digits) <= point <= 21:
        return minus + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{point - 1:+d}"


def property_of(value: Any, name: str) -> Any:
    """A dict's entry, a list's item or a string's UTF-16 unit by index, their `length`, or part of a timestamp.

    Any property of null is null; a missing property is undefined.
    """
    match value:
        case dict():
            return value.get(name, UNDEFINED)
        case list():
            at = _index(name, len(value))
            if at is not None:
                return value[at]
            return len(value) if name == "length" else UNDEFINED
        case str():
            units = value.encode("utf-16-le", "replace")
            at = _index(name, len(units) // 2)
            if at is not None:
                return units[2 * at : 2 * at + 2].decode("utf-16-le", "replace")
            return len(units) // 2 if name == "length" else UNDEFINED
        case datetime():
            return _time_part(value, name.removeprefix("_"))
        case None:
            return None
        case _:
            return UNDEFINED


def has_property(value: dict[str, Any] | list[Any], name: str) -> bool:
    """Whether the property exists, even if it is null."""
    return property_of(value, name) is not UNDEFINED


def _index(name: str, length: int) -> int | None:
    """The index that the name stands for; None if it is not a valid one."""
    return int(name) if _INDEX.fullmatch(name) and int(name) < length else None


def _time_part(time: datetime, name: str) -> Any:
    """The fields of Firestore's `Timestamp` class; `property_of` removes the underscore that they have in Node."""
    match name:
        case "seconds":
            return math.floor(time.replace(microsecond=0).timestamp())
        case "nanoseconds":
            return time.microsecond * 1000
        case _:
            return UNDEFINED


def in_key_order(value: dict[str, Any]) -> list[str]:
    """A dict's keys in JavaScript's order: array indices ascending, then the others in insertion order."""
    indices = sorted(filter(_is_index, value), key=int)
    return [*indices, *(key for key in value if not _is_index(key))] if indices else list(value)


def _is_index(key: str) -> bool:
    return _INDEX.fullmatch(key) is not None and int(key) <= _MAX_INDEX


def length(value: Any) -> int:
    """The number of entries that `as_dict` copies."""
    return len(value) if isinstance(value, dict | list | str) else 0


def as_dict(value: Any) -> dict[str, Any]:
    """A copy of the value's entries as a dict, to which hash arguments are added."""
    match value:
        case dict():
            return dict(value)
        case list():
            return {str(index): item for index, item in enumerate(value)}
        case str():
            return {str(index): character for index, character in enumerate(value)}
        case _:
            return {}


def is_same(one: Any, other: Any) -> bool:
    """Whether two contexts form one level for `../`: JavaScript's `==` without conversions (`1 == "1"`).

    Maps and lists are compared by identity, scalars by value; null equals undefined.
    """
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    if isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS):
        return one == other
    return one is other or (is_nothing(one) and is_nothing(other))

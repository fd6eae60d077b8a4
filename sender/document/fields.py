"""Reading typed values out of an untyped map, collecting every fault instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from shared.errors import NotSendable

T = TypeVar("T")

# More would make an error text that nobody reads, and in the worst case one that the document can't hold.
_MAX_FAULTS = 5

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),  # before numbers: a bool is an int
    ((int, float), "a number"),
    (str, "a string"),
    (bytes, "bytes"),
    (datetime, "a timestamp"),
    (list, "an array"),
    (dict, "a map"),
)
_EMPTY = {"a string": "an empty string", "an array": "an empty array", "a map": "an empty map"}
_BREAK = re.compile(r"[\r\n\0]")


def describe(value: Any) -> str:
    """What kind of value it is, in Firestore's words and without its content ("a number", "nothing")."""
    if value is None:
        return "nothing"
    words = next((words for kind, words in _KINDS if isinstance(value, kind)), "a value of another type")
    return words if value else _EMPTY.get(words, words)


class Fields:
    """One map of a document. A value that is null or absent is None; so is a wrong one, after its fault is noted."""

    def __init__(self, values: Mapping[str, Any], path: str = "", faults: list[NotSendable] | None = None) -> None:
        self.values = values
        self.at = path
        self._faults: list[NotSendable] = [] if faults is None else faults

    def path(self, name: str) -> str:
        """Where the field stands in the document: `message.subject`."""
        return f"{self.at}.{name}" if self.at else name

    def fault(self, name: str, found: str, expected: str) -> None:
        """Note that a field is wrong."""
        self._faults.append(NotSendable.field(self.path(name), found, expected))

    @property
    def faulty(self) -> bool:
        """Whether the document has any fault yet."""
        return bool(self._faults)

    def raise_faults(self) -> None:
        """Raise all noted faults of the document as one `NotSendable`; return if there are none."""
        if not self._faults:
            return
        texts = [str(fault) for fault in self._faults[:_MAX_FAULTS]]
        if len(self._faults) > _MAX_FAULTS:
            texts.append(f"And {len(self._faults) - _MAX_FAULTS} more.")
        raise NotSendable(self._faults[0].code, " ".join(texts))

    def text(self, name: str) -> str | None:
        """A string."""
        return self._typed(name, str, "a string")

    def line(self, name: str) -> str | None:
        """A string without line breaks or NUL, fit for a header; an empty one counts as absent."""
        value = self.text(name)
        if value and _BREAK.search(value):
            self.fault(name, "a line break or NUL", "a single line of text")
            return None
        return value or None

    def flag(self, name: str) -> bool:
        """A boolean; false where nothing is given."""
        return self._typed(name, bool, "a boolean") or False

    def filled(self, name: str) -> str:
        """A string that must be there and not be empty."""
        value = self.values.get(name)
        if isinstance(value, str) and value:
            return value
        self.fault(name, describe(value), "a non-empty string")
        return ""

    def map(self, name: str) -> Fields | None:
        """A map, to be read in turn."""
        value = self._typed(name, dict, "a map")
        return None if value is None else Fields(value, self.path(name), self._faults)

    def map_around(self, name: str, field: str) -> Fields | None:
        """A map; a bare string or bytes stands for a map with just that field. An empty one counts as absent."""
        value = self.values.get(name)
        if isinstance(value, str | bytes):
            return Fields({field: value}, self.path(name), self._faults) if value else None
        return self.map(name)

    def maps(self, name: str) -> Iterator[Fields]:
        """The maps in an array of maps; null entries are skipped."""
        expected = "an array of maps (a single one must be in an array too)"
        for index, value in enumerate(self._typed(name, list, expected) or ()):
            item = Fields({str(index): value}, self.path(name), self._faults).map(str(index))
            if item is not None:
                yield item

    def texts(self, name: str, *, or_one: bool = False) -> list[tuple[str, str]]:
        """The strings in an array, each with its name (`to.0`); with `or_one` also a bare string, as `to`."""
        value = self.values.get(name)
        if value is None:
            return []
        if or_one and isinstance(value, str):
            return [(name, value)]
        expected = "a string or an array of strings" if or_one else "an array of strings"
        values = self._typed(name, list, expected) or []
        for index, item in enumerate(values):
            if not isinstance(item, str):
                self.fault(f"{name}.{index}", describe(item), "a string")
        return [(f"{name}.{index}", item) for index, item in enumerate(values) if isinstance(item, str)]

    def _typed(self, name: str, kind: type[T], expected: str) -> T | None:
        value = self.values.get(name)
        if value is None or isinstance(value, kind):
            return value
        self.fault(name, describe(value), expected)
        return None

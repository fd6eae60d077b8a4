"""Reads typed values from an untyped map, and collects all faults instead of stopping at the first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sender.document.invisible import invisible_in, stripped
from shared.errors import NotSendable
from shared.firestore.values import MAX_VALUES, Reference, TooMany

T = TypeVar("T")

# A longer text would be unreadable, and might not fit into the document.
_MAX_FAULTS = 5

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),  # before numbers: a bool is an int
    ((int, float), "a number"),
    (str, "a string"),
    (bytes, "bytes"),
    (datetime, "a timestamp"),
    (list, "an array"),
    (dict, "a map"),
    (Reference, "a reference"),
    (TooMany, f"more than {MAX_VALUES:,} values"),
)
_EMPTY = {"a string": "an empty string", "an array": "an empty array", "a map": "an empty map"}
_BREAK = re.compile(r"[\r\n\0]")


def describe(value: Any) -> str:
    """The kind of a value in Firestore's terms ("a number", "nothing"), without its content."""
    if value is None:
        return "nothing"
    words = next((words for kind, words in _KINDS if isinstance(value, kind)), "a value of another type")
    return words if value else _EMPTY.get(words, words)


def shown(name: str) -> str:
    """A key, which may hold anything, made safe for an error or a warning."""
    return re.sub(r"[^!-~]", "?", name[:70])


class Fields:
    """One map of a document. Null, absent and invalid values read as None; an invalid one is recorded as a fault."""

    def __init__(self, values: Mapping[str, Any], path: str = "", faults: list[NotSendable] | None = None) -> None:
        self.values = values
        self.at = path
        self._faults: list[NotSendable] = [] if faults is None else faults

    def path(self, name: str) -> str:
        """The field's path in the document, such as `message.subject`."""
        return f"{self.at}.{name}" if self.at else name

    def fault(self, name: str, found: str, expected: str) -> None:
        """Record that a field is invalid."""
        self._faults.append(NotSendable.field(self.path(name), found, expected))

    @property
    def faulty(self) -> bool:
        """Whether any fault of the document has been recorded."""
        return bool(self._faults)

    def raise_faults(self, hints: Iterable[str] = ()) -> None:
        """Raise all recorded faults of the document as one `NotSendable`, with hints; return if there are none."""
        if not self._faults:
            return
        texts = [str(fault) for fault in self._faults[:_MAX_FAULTS]]
        if len(self._faults) > _MAX_FAULTS:
            texts.append(f"And {len(self._faults) - _MAX_FAULTS} more.")
        texts += itertools.islice(hints, _MAX_FAULTS)
        raise NotSendable(self._faults[0].code, " ".join(texts))

    def text(self, name: str) -> str | None:
        """A string."""
        return self._typed(name, str, "a string")

    def line(self, name: str) -> str | None:
        """A string without line breaks or NUL, usable in a header; an empty one counts as absent."""
        value = self.text(name)
        if value and _BREAK.search(value):
            self.fault(name, "a line break or NUL", "a single line of text")
            return None
        return value or None

    def identifier(self, name: str) -> str | None:
        """A `line` that has to be the same as a name elsewhere; see `visible`."""
        return self.visible(name, self.line(name))

    def visible(self, name: str, text: str | None) -> str | None:
        """The text without invisible characters at its ends; one inside is a fault of the field, and gives None."""
        if not text or not invisible_in(text):
            return text or None
        text = stripped(text)
        if unseen := invisible_in(text):
            self.fault(name, unseen, "only characters that can be seen")
            return None
        return text or None

    def flag(self, name: str) -> bool:
        """A boolean; false if absent."""
        return self._typed(name, bool, "a boolean") or False

    def filled(self, name: str) -> str:
        """A required, non-empty string; the empty string if invalid."""
        value = self.values.get(name)
        if isinstance(value, str) and value:
            return value
        self.fault(name, describe(value), "a non-empty string")
        return ""

    def map(self, name: str) -> Fields | None:
        """A nested map; its faults are recorded with those of this one."""
        value = self._typed(name, dict, "a map")
        return None if value is None else Fields(value, self.path(name), self._faults)

    def map_around(self, name: str, field: str) -> Fields | None:
        """A map, or a bare string or bytes as a map with only `field`. An empty string counts as absent."""
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
        """The strings in an array, each with its path (`to.0`); with `or_one`, also a bare string (`to`)."""
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

"""Reads the header maps of a document and its attachments, in every form that nodemailer accepts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from sender.document.fields import Fields, describe, shown

#: The longest word, including the white space before it: words can't be folded, and lines are limited to 998 bytes
#: (RFC 5322 section 2.1.1).
MAX_WORD = 800
#: The longest value. Mail servers take about as much for all headers together, and each word takes memory.
MAX_VALUE = 100_000

_NAME = re.compile(r"[!-9;-~]{1,70}")  # RFC 5322 section 3.6.8
_CONTROL = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")
_WORD = re.compile(r"[ \t]*[^ \t]+")
#: Headers that contain message ids.
_IDS = frozenset(("in-reply-to", "references"))
_A_NAME = "a name of up to 70 ASCII letters, digits and marks, without spaces and ':'"
_A_VALUE = "a string, a number, a boolean or an array of these"


class Header(NamedTuple):
    """One header field; `path` is its field path in the document."""

    path: str
    name: str
    value: str

    @property
    def key(self) -> str:
        """The name in lower case, for comparison."""
        return self.name.lower()


def read_headers(parent: Fields, field: str = "headers") -> list[Header]:
    """Read the headers in `field`: `{"X-Name": value}`, `{"key": "X-Name", "value": value}` or an array of the latter.

    A value is a string, a number, a boolean, `{"value": …}` or an array of these, which repeats the header. Null and
    blank values are omitted, as in nodemailer, and missing angle brackets are added to message ids. Faults are recorded
    in the parent.
    """
    found: list[Header] = []
    for path, name, value in _pairs(parent, field):
        if not _NAME.fullmatch(name):
            parent.fault(path, "a name with other characters, or a longer one", _A_NAME)
            continue
        for item in value if isinstance(value, list) else [value]:
            text = _text(item)
            if text is None:
                parent.fault(path, describe(item), _A_VALUE)
            elif _CONTROL.search(text):
                parent.fault(path, "a line break or another control character", "a single line of text")
            elif len(text) > MAX_VALUE:
                parent.fault(path, "a longer one", f"a value of at most {MAX_VALUE:,} characters")
            elif any(len(word) > MAX_WORD and word.isascii() for word in _WORD.findall(text)):
                parent.fault(path, "a longer one", f"words of up to {MAX_WORD} characters")
            elif text:
                found.append(Header(parent.path(path), name, _in_brackets(text) if name.lower() in _IDS else text))
    return found


def _pairs(parent: Fields, field: str) -> Iterator[tuple[str, str, Any]]:
    """The path, name and value of each entry, in any of the three forms."""
    if isinstance(parent.values.get(field), list):
        for index, item in enumerate(parent.maps(field)):
            yield f"{field}.{index}", item.text("key") or "", item.values.get("value")
        return
    match parent.map(field):
        case Fields(values={"key": str() as name, "value": value}) if name and value:
            yield field, name, value
        case Fields() as headers:
            for name, value in headers.values.items():
                yield f"{field}.{shown(name)}", name, value


def _text(value: Any) -> str | None:
    """The value as JavaScript prints it, stripped; None if its type is not allowed."""
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    match value:
        case None:
            return ""
        case str():
            return value.strip(" \t")
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case float() if 1e-6 <= abs(value) < 1e21:  # JavaScript writes an exponent outside this range only
            return format(Decimal(repr(value)), "f").removesuffix(".0")
        case float():
            return re.sub(r"(?:\.0)?(e[+-])0?|\.0$", r"\1", repr(value)) if value else "0"
        case _:
            return None


def _in_brackets(ids: str) -> str:
    """Message ids, with missing angle brackets added (RFC 5322 section 3.6.4)."""
    words = ids.replace("\t", " ").split(" ")  # not where Python sees white space, too: such words may be long
    return " ".join(word if "<" in word else f"<{word.rstrip('>')}>" for word in words if word)

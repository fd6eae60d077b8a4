"""The maps of headers in a document and in its attachments, in every form that nodemailer took."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sender.document.fields import Fields, describe

#: No word can be longer, with the white space before it: it can't be folded, and a line ends at 998 bytes
#: (RFC 5322 section 2.1.1).
MAX_WORD = 800

_NAME = re.compile(r"[!-9;-~]{1,70}")  # RFC 5322 section 3.6.8
_CONTROL = re.compile(r"[\0-\x08\x0a-\x1f\x7f]")
_WORD = re.compile(r"[ \t]*[^ \t]+")
#: Headers that hold message ids.
_IDS = frozenset(("in-reply-to", "references"))
_A_NAME = "a name of up to 70 ASCII letters, digits and marks, without spaces and ':'"
_A_VALUE = "a string, a number, a boolean or an array of these"


class Header(NamedTuple):
    """One header field; `path` is where the document gives it."""

    path: str
    name: str
    value: str

    @property
    def key(self) -> str:
        """The name as it is compared: in lower case."""
        return self.name.lower()


def read_headers(parent: Fields, field: str = "headers") -> list[Header]:
    """The headers in `field`: `{"X-Name": value}`, `{"key": "X-Name", "value": value}` or an array of the latter.

    A value is a string, a number, a boolean, `{"value": …}` or an array of these, which repeats the header. Null and
    blank ones are left out, as nodemailer does, and message ids get the brackets they lack. Faults are noted with the
    parent.
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
            elif any(len(word) > MAX_WORD and word.isascii() for word in _WORD.findall(text)):
                parent.fault(path, "a longer one", f"words of up to {MAX_WORD} characters")
            elif text:
                found.append(Header(parent.path(path), name, _in_brackets(text) if name.lower() in _IDS else text))
    return found


def _pairs(parent: Fields, field: str) -> Iterator[tuple[str, str, Any]]:
    """Path, name and value of each entry, whichever form it has."""
    if isinstance(parent.values.get(field), list):
        for index, item in enumerate(parent.maps(field)):
            yield f"{field}.{index}", item.text("key") or "", item.values.get("value")
        return
    match parent.map(field):
        case Fields(values={"key": str() as name, "value": value}) if name and value:
            yield field, name, value
        case Fields() as headers:
            for name, value in headers.values.items():
                yield f"{field}.{_shown(name)}", name, value


def _text(value: Any) -> str | None:
    """The value as JavaScript prints it, without white space at the ends; None if it is no text at all."""
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
        case float():
            return str(int(value) if value.is_integer() else value)
        case _:
            return None


def _in_brackets(ids: str) -> str:
    """Message ids in their angle brackets, which people leave out (RFC 5322 section 3.6.4)."""
    return " ".join(word if "<" in word else f"<{word.rstrip('>')}>" for word in ids.split())


def _shown(name: str) -> str:
    """A header's name as it may stand in an error text, whatever is in it."""
    return re.sub(r"[^!-~]", "?", name)[:70]

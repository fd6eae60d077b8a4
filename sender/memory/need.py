"""How much memory a mail can need at its peak, from what is known about it. Pure functions.

The factors were measured with the worst documents of each kind; tests/unit/sender/memory/test_need.py repeats that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

#: Bytes at the peak of composing for each byte of a decoded document or of a rendered text.
TEXT_FACTOR: Final = 8

#: The same for each byte of a file: it is encoded to 4/3 of its size, and joined with the other parts of the mail.
FILE_FACTOR: Final = 3

#: The same for each byte that a request to SendGrid repeats: as text, in UTF-8, and joined with the rest.
REPEATED_FACTOR: Final = 4

#: Bytes of a character while a template is rendered: up to four, and a quarter in reserve.
CHARACTER_BYTES: Final = 5


def size_of(value: Any) -> int:
    """The bytes that a decoded Firestore value (dict, list or scalar) takes with all that it contains."""
    size, left = 0, [value]
    while left:
        item = left.pop()
        size += sys.getsizeof(item)
        if isinstance(item, dict):
            left += item
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return size


def of_texts(texts: Iterable[str | bytes | None]) -> int:
    """The bytes to reserve for texts that are encoded."""
    return TEXT_FACTOR * sum(sys.getsizeof(text) for text in texts if text)


def of_document(fields: Any) -> int:
    """The bytes to reserve for a mail without files to load, given the fields of its document."""
    return TEXT_FACTOR * size_of(fields)


def of_rendering(characters: int) -> int:
    """The bytes to reserve for rendering a text of this many characters."""
    return CHARACTER_BYTES * characters


def of_repeated(size: int) -> int:
    """The bytes to reserve for a text of this size that is encoded and joined with the rest of the mail."""
    return REPEATED_FACTOR * size


def of_files(size: int) -> int:
    """The bytes to reserve for files of this size in all."""
    return FILE_FACTOR * size


def files_within(size: int) -> int:
    """The bytes of files that a mail with this many bytes of memory may load."""
    return max(0, size) // FILE_FACTOR

"""Reads log entries from text: the services' own lines, or the output of `gcloud logging read --format=json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

#: Characters of the longest line. An entry has 256 KB at most (https://cloud.google.com/logging/quotas).
LONGEST_LINE: Final = 16 * 1024 * 1024
#: Characters of the largest object in several lines.
_LARGEST: Final = 1024 * 1024


class TooLong(ValueError):
    """A line is longer than `LONGEST_LINE`."""


def entries(text: TextIO) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of the text: one per line, or indented as gcloud and jq print them. Other lines are skipped.

    An object in several lines begins with a `{` alone and ends with a `}` that is indented as far; all between is
    indented further. So each line is parsed once. Raises `TooLong`.
    """
    block: list[str] = []
    size = opened_at = 0
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise TooLong
        content = line.strip()
        indented = len(line) - len(line.lstrip())
        if block and (indented > opened_at or content in ("}", "},")):
            block.append(content)
            size += len(content)
            if indented <= opened_at:
                yield from _objects("".join(block).rstrip(","))
                block = []
            elif size > _LARGEST:
                block = []
        elif content == "{":
            block, size, opened_at = [content], 0, indented
        else:
            block = []
            yield from _objects(content.rstrip(","))


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The object that the text is, or those in the array that it is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from (each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict))

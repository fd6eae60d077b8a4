"""Reads JSON objects from text: the services' log lines, what `gcloud logging read --format=json` prints, documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

import click

#: Characters of the longest object. A log entry has 256 KB at most (https://cloud.google.com/logging/quotas), and a
#: document 1 MiB, which JSON can make six times as long.
LONGEST: Final = 16 * 1024 * 1024

#: The type of a command's argument: such a file, or - for standard input. A byte that is not UTF-8 spoils no entry.
JSON_FILE: Final = click.File("r", encoding="utf-8", errors="replace")


class TooLong(ValueError):
    """A line, or an object in several lines, is longer than `LONGEST`."""

    def __init__(self) -> None:
        super().__init__(f"a line or an object has more than {LONGEST:,} characters")


def entries(text: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The JSON objects of the text, each with the number of the line in which it begins.

    There is one per line, or they are indented as gcloud and jq print them, or a line is an array of them. Other lines
    are skipped, and so is half an object: a process that is killed leaves one behind.

    An object in several lines begins with a `{` alone and ends with a `}` that is indented as far; all between is
    indented further. So each line is parsed once. Raises `TooLong`.
    """
    block: list[str] = []
    size = opened_at = first = 0
    for number, line in _lines(text):
        content = line.strip()
        indented = len(line) - len(line.lstrip())
        if block and (indented > opened_at or content in ("}", "},")):
            block.append(content)
            size += len(content)
            if size > LONGEST:
                raise TooLong
            if indented <= opened_at:
                yield from _objects(first, "".join(block))
                block = []
        elif content == "{":
            block, size, opened_at, first = [content], 0, indented, number
        else:
            block = []
            yield from _objects(number, content)


def _lines(text: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := text.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise TooLong
        number += 1
        yield number, line


def _objects(line: int, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The object that the text is, or those in the array that it is."""
    try:
        found = json.loads(text.rstrip(","))
    except (ValueError, RecursionError):
        return
    yield from ((line, each) for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict))

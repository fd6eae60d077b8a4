"""The project's prose, as tests read it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def prose(document: str) -> str:
    """A document's text, its path relative to the repository, with each run of white space as one space."""
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


def rows(document: str) -> list[list[str]]:
    """The cells of each row of all tables of a document, without the rows that are lines."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    cells = [_cells(line) for line in lines if line.startswith("|")]
    return [row for row in cells if not set("".join(row)) <= set("|-: ")]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]*)`", text)


def table(document: str, first: str) -> dict[str, str]:
    """The first two cells of each row of the table whose first column has this heading."""
    found = re.search(
        rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found, f"{document} has no such table"
    return {row[0]: row[1] for row in (_cells(line) for line in found[1].splitlines())}


def paths(document: str) -> dict[str, dict[str, list[str]]]:
    """The commands of each path of a document, by path and step.

    A path begins with `<!-- path: NAME -->` and ends with the next heading, a step begins with `**NAME.**`. Its
    commands are the lines of the code blocks that follow; a here-document belongs to its command.
    """
    found = {}
    for section in re.split(r"^## ", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE):
        if path := re.search(r"<!-- path: (\w+) -->", section):
            steps = re.split(r"^\*\*([\w ]+)\.\*\*", section, flags=re.MULTILINE)[1:]
            found[path[1]] = {name: _commands(text) for name, text in zip(steps[::2], steps[1::2], strict=True)}
    return found


def _commands(text: str) -> list[str]:
    script = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return [match[0] for match in re.finditer(r"^.*<<(\w+)\n(?:.*\n)*?\1$|^.+$", script, re.MULTILINE)]

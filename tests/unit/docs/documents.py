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
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("|")]
    return [row for row in cells if not set("".join(row)) <= set("|-: ")]


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]*)`", text)

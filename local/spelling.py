"""What somebody meant who has misspelt a name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: How alike two names must be, from 0 to 1 (`difflib`).
_ALIKE = 0.75


def meant(name: str, known: Iterable[str]) -> str:
    """`did you mean X?`, without the question mark; empty if no known name is like it."""
    by_folded = {each.casefold(): each for each in known}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=_ALIKE)
    return f"did you mean {by_folded[found[0]]}" if found else ""

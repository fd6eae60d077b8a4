"""Reads the `.env` files that the Firebase CLI writes. Pure.

There are two kinds. `firebase ext:export` writes `NAME=value` lines with values as they are, whatever they contain
(https://firebase.google.com/docs/extensions/manifest). For function kits, it quotes what needs quoting
(https://firebase.google.com/docs/functions/config-env). People edit both, and add comments and quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: Names: those of variables, and those of Firebase's own parameters, `firebaseextensions.v1beta.function/location`.
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w./-]*)\s*=[ \t]*(.*)", re.DOTALL)
_QUOTED = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#[^\n]*)?', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'\s*(?:#[^\n]*)?", re.DOTALL),
}
#: Lines that one quoted value may span, such as those of a certificate.
_LONGEST = 200
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line, by its number from 1: an assignment, or something unreadable, whose `name` is empty.

    `raw`: the value stands in the file as it is, from the `=` to the end of the line.
    """

    number: int
    name: str
    value: str = ""
    raw: bool = False


def read(text: str) -> Iterator[Line]:
    """The assignments and the unreadable lines of a file, in order; comments and blank lines are left out."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    position = 0
    while position < len(lines):
        line = lines[position]
        taken = 1
        if line.strip() and not line.lstrip().startswith("#"):
            match = _ASSIGNMENT.fullmatch(line)
            if match is None:
                yield Line(position + 1, "")
            else:
                value, taken, raw = _value(match[2], lines[position + 1 : position + _LONGEST])
                yield Line(position + 1, match[1], value, raw)
        position += taken


def _value(rest: str, following: list[str]) -> tuple[str, int, bool]:
    """The value that begins with `rest`, how many lines it takes, and whether it stands there as it is."""
    quote = rest[:1]
    if quote in _QUOTED:
        closes = () if quote in rest[1:] else (taken for taken, line in enumerate(following, start=1) if quote in line)
        more = next(iter(closes), 0)
        if match := _QUOTED[quote].fullmatch("\n".join((rest, *following[:more]))):
            return _unescaped(match[1]) if quote == '"' else match[1], 1 + more, False
    value = re.split(r"(?<=\s)#|^#", rest, maxsplit=1)[0].rstrip()
    return value, 1, value == rest.rstrip()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)

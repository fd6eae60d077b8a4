"""Generators of random values, and the values that are hostile in more than one place.

Plain functions of a `Random` make a hundred times as many inputs in the same time as a library that also shrinks them,
and an input here is short enough to read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeAlias, TypeVar

from shared.firestore.values import Reference

T = TypeVar("T")
Generator: TypeAlias = Callable[[Random], T]


def pick(*values: T) -> Generator[T]:
    """One of the values."""
    return lambda random: random.choice(values)


def one_of(*generators: Generator[Any]) -> Generator[Any]:
    """What one of the generators makes."""
    return lambda random: random.choice(generators)(random)


def rarely(odd: Generator[Any], usual: Generator[Any], chance: float = 0.1) -> Generator[Any]:
    """What `odd` makes with this chance, and otherwise what `usual` makes."""
    return lambda random: (odd if random.random() < chance else usual)(random)


def joined(generator: Generator[str], most: int) -> Generator[str]:
    """Up to `most` texts, joined."""
    return lambda random: "".join([generator(random) for _ in range(random.randint(0, most))])


def listed(generator: Generator[T], most: int) -> Generator[list[T]]:
    """A list of up to `most` values."""
    return lambda random: [generator(random) for _ in range(random.randint(0, most))]


def mapped(names: Generator[str], values: Generator[Any], most: int) -> Generator[dict[str, Any]]:
    """A map of up to `most` entries."""
    return lambda random: {names(random): values(random) for _ in range(random.randint(0, most))}


def some_of(fields: Mapping[str, Generator[Any]], chance: float = 0.5) -> Generator[dict[str, Any]]:
    """A map with some of these entries, each of them with this chance."""
    return lambda random: {name: make(random) for name, make in fields.items() if random.random() < chance}


def tupled(*generators: Generator[Any]) -> Generator[tuple[Any, ...]]:
    """One value of each generator."""
    return lambda random: tuple([generator(random) for generator in generators])


def octets(most: int) -> Generator[bytes]:
    """Up to `most` random bytes."""
    return lambda random: random.randbytes(random.randint(0, most))


def characters(random: Random) -> str:
    """A text of any characters, also of those that are none."""
    highest = random.choice((0x7F, 0xFF, 0x3000, 0x10FFFF))
    return "".join([chr(random.randint(0, highest)) for _ in range(random.randint(0, 30))])


def as_json(generator: Generator[Any]) -> Generator[bytes]:
    """The values in JSON."""
    return lambda random: json.dumps(generator(random)).encode()


def nested(depth: int) -> object:
    """A value of so many maps within one another."""
    value: object = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


#: What ends a line for some parser, means something in a header or an address, is invisible, or is not a character.
PIECES = (
    *("\r\n", "\n", "\r", "\0", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\t", " ", "\x1b"),
    *(
        "Evil: x",
        "\r\nEvil: x",
        "\nBcc: eve@evil.example",
        "\r\n\r\n",
        "=?utf-8?q?=0AEvil:_x?=",
        "=?utf-8?b?DQpFdmlsOng=?=",
    ),
    *(
        "a@b.c",
        "eve@evil.example",
        "<eve@evil.example>",
        '"',
        "'",
        "<",
        ">",
        ",",
        ";",
        ":",
        "\\",
        "(",
        ")",
        "[",
        "]",
        "@",
    ),
    *(
        "%0d%0a",
        "%00",
        "＜",
        "＞",
        "＠",
        "嘊",
        "嘍",
        "\u200b",
        "\ufeff",
        "\u202e",
        "\u3164",
        "\ufe0f",
        "\u200d",
        "\xad",
    ),
    *("ü", "日本", "😀", "\ud800", "\udc0d", "İ", "ß", "plain", "words in a row", "x" * 90, "x" * 1000, "日" * 350),
    *(
        "--",
        ".",
        "..",
        "\r\n.\r\n",
        "\n.\n",
        "\r.\r",
        "=",
        "=\n",
        "&",
        "{{",
        "}}",
        "data:",
        "https://",
        "base64",
        "GMT+0100",
    ),
    *(
        "NOTIFY=NEVER",
        "> NOTIFY=NEVER",
        " SIZE=1",
        "xn--",
        "[1.2.3.4]",
        "[IPv6:::1]",
        "charset=",
        "filename*=",
        "boundary=",
    ),
)
HOSTILE = joined(pick(*PIECES), 6)
TEXT = one_of(HOSTILE, characters)

_PLAIN: Sequence[Generator[Any]] = (
    pick(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63 - 1,
        -(2**63),
        10**21,
        0.1,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "a",
        "2026",
    ),
    TEXT,
    lambda random: random.randint(-(10**9), 10**9),
    lambda random: random.uniform(-1e9, 1e9),
)
_STORED: Sequence[Generator[Any]] = (
    octets(20),
    pick(
        Reference("projects/p/databases/d/documents/a/b"),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ),
)


def _value(scalars: Sequence[Generator[Any]], depth: int) -> Generator[Any]:
    def value(random: Random) -> Any:
        if not depth or random.random() < 0.6:
            return random.choice(scalars)(random)
        inner = _value(scalars, depth - 1)
        return listed(inner, 3)(random) if random.random() < 0.5 else mapped(TEXT, inner, 3)(random)

    return value


#: Any value that JSON can express, and any value that a document may have, as it is decoded.
JSON = _value(_PLAIN, 3)
ANY = _value((*_PLAIN, *_STORED), 3)

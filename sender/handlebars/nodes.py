"""The tree that a template is parsed into. Names are those of handlebars.js where they are not longer than needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from sender.handlebars.errors import Spot


class Strip(NamedTuple):
    """Whether a tag has a `~` at its left end (open) and at its right end (close)."""

    open: bool = False
    close: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A way to a value: `../a.b` is depth 1, parts `a`, `b`. `data` marks those that begin with `@`.

    `original` is as it was written, without brackets.
    """

    original: str
    data: bool
    depth: int
    parts: tuple[str, ...]
    spot: Spot


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, boolean, null or undefined."""

    value: Any
    spot: Spot


@dataclass(frozen=True, slots=True)
class Call:
    """A name with what follows it; in parentheses, a subexpression."""

    name: Path | Literal
    params: tuple[Expression, ...]
    hash: Mapping[str, Expression]
    spot: Spot


Expression: TypeAlias = Path | Literal | Call


@dataclass(slots=True)
class Content:
    """Text. White space control shortens `value` and leaves `original` alone."""

    original: str
    value: str
    left_stripped: bool = False
    right_stripped: bool = False


@dataclass(slots=True)
class Comment:
    """A comment: nothing but a tag that may stand alone on its line."""

    strip: Strip


@dataclass(slots=True)
class Mustache:
    """`{{call}}`, or the decorator `{{* call}}`."""

    call: Call
    escaped: bool
    decorator: bool
    strip: Strip


@dataclass(slots=True)
class Partial:
    """`{{> name}}`; `indent` is what stands before it if it is alone on its line."""

    name: Expression
    params: tuple[Expression, ...]
    hash: Mapping[str, Expression]
    strip: Strip
    spot: Spot
    indent: str = ""


@dataclass(slots=True)
class PartialBlock:
    """`{{#> name}}program{{/name}}`."""

    partial: Partial
    program: Program
    open_strip: Strip
    close_strip: Strip

    @property
    def programs(self) -> tuple[Program, ...]:
        """As with `Block`."""
        return (self.program,)


@dataclass(slots=True)
class Block:
    """`{{#call}}program{{else}}inverse{{/call}}`; with `^` for `#` only the inverse may be there."""

    call: Call
    program: Program | None
    inverse: Program | None
    decorator: bool
    open_strip: Strip
    inverse_strip: Strip
    close_strip: Strip

    @property
    def programs(self) -> tuple[Program, ...]:
        """Those of program and inverse that are there; at least one is."""
        return tuple(program for program in (self.program, self.inverse) if program)


Statement: TypeAlias = Content | Comment | Mustache | Partial | PartialBlock | Block


@dataclass(slots=True)
class Program:
    """Statements in order. `chain` is the block of an `{{else if}}`, which is all that such an inverse holds."""

    body: list[Statement]
    spot: Spot
    block_params: tuple[str, ...] = ()
    chain: Block | None = None

"""The syntax tree of a template, with shortened names of handlebars.js."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from sender.handlebars.errors import Spot


class Strip(NamedTuple):
    """Whether a tag has a `~` at its start (`open`) and at its end (`close`)."""

    open: bool = False
    close: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A path to a value: `../a.b` has depth 1 and the parts `a`, `b`. `data` is true if it begins with `@`.

    `original` is the source text without brackets.
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
    """A name with its parameters and hash arguments; in parentheses, a subexpression."""

    name: Path | Literal
    params: tuple[Expression, ...]
    hash: Mapping[str, Expression]
    spot: Spot


Expression: TypeAlias = Path | Literal | Call


@dataclass(slots=True)
class Content:
    """Text. White space control shortens `value`, but never changes `original`."""

    original: str
    value: str
    left_stripped: bool = False
    right_stripped: bool = False


@dataclass(slots=True)
class Comment:
    """A comment; it matters only for white space control."""

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
    """`{{> name}}`; `indent` is the white space before it if it is alone on its line."""

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
        """See `Block.programs`."""
        return (self.program,)


@dataclass(slots=True)
class Block:
    """`{{#call}}program{{else}}inverse{{/call}}`; with `^` instead of `#`, the program may be absent."""

    call: Call
    program: Program | None
    inverse: Program | None
    decorator: bool
    open_strip: Strip
    inverse_strip: Strip
    close_strip: Strip

    @property
    def programs(self) -> tuple[Program, ...]:
        """The program and the inverse, if present; at least one is."""
        return tuple(program for program in (self.program, self.inverse) if program)


Statement: TypeAlias = Content | Comment | Mustache | Partial | PartialBlock | Block


@dataclass(slots=True)
class Program:
    """Statements in order. In the inverse of an `{{else if}}`, `chain` is its block, the only statement."""

    body: list[Statement]
    spot: Spot
    block_params: tuple[str, ...] = ()
    chain: Block | None = None

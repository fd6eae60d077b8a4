"""Calls of partials: `{{> name}}` and `{{#> name}}…{{/name}}`."""

from __future__ import annotations

import re

from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.runtime import (
    PARTIAL_BLOCK,
    Block,
    Frame,
    Getter,
    Partial,
    PartialBlock,
    Partials,
    Program,
    Run,
    Scope,
    Step,
    framed,
)
from sender.handlebars.values import as_dict, length, string_of

_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")


def call_partial(
    name: str | Getter,
    context: Getter | None,
    hash_: dict[str, Getter] | None,
    program: Program | None,
    indent: str,
    spot: Spot,
) -> Step:
    """A step that renders the partial with the context (None: the current one), extended by the hash arguments.

    `program` is the content of the partial block: available to the partial as `@partial-block`, and rendered instead if
    the partial doesn't exist.
    """

    def step(scope: Scope) -> None:
        data, partials, fallback = _with_block(program, scope)
        partial = _found(name, scope) or fallback
        if partial is None:
            # A dynamic name may come from the data, which errors must not quote.
            shown = f"'{name}'" if isinstance(name, str) else "of the name that this comes to"
            raise TemplateError(spot, f"There is no partial {shown}.")
        value = context(scope) if context else scope.context
        run = scope.run
        if hash_ is None:
            _render(partial, run, value, data, partials, indent, spot)
            return
        with run.copying(length(value), spot):
            extended = as_dict(value) | run.evaluated(hash_, scope, spot)
            _render(partial, run, extended, data, partials, indent, spot)

    return step


def _render(
    partial: Partial, run: Run, context: object, data: Frame, partials: Partials, indent: str, spot: Spot
) -> None:
    if indent:
        text = run.captured(lambda: partial.call_partial(run, context, data, partials))
        _write_indented(text, indent, run, spot)
    else:
        partial.call_partial(run, context, data, partials)


def _found(name: str | Getter, scope: Scope) -> Partial | None:
    key = name if isinstance(name, str) else string_of(name(scope))
    partial = scope.partials.get(key) or scope.run.stored(key)
    if partial is None and name == f"@{PARTIAL_BLOCK}":
        partial = scope.data.get(PARTIAL_BLOCK)
    return partial


def _with_block(program: Program | None, scope: Scope) -> tuple[Frame, Partials, PartialBlock | None]:
    """The data and partials visible to the partial, and its partial block."""
    if program is None:
        return scope.data, scope.partials, None
    block = Block(program, scope)
    partial_block = PartialBlock(block, scope.data.get(PARTIAL_BLOCK))
    data = {**framed(scope.data), PARTIAL_BLOCK: partial_block}
    return data, {**scope.partials, **block.inlines}, partial_block


def _write_indented(text: str, indent: str, run: Run, spot: Spot) -> None:
    """Indent each line, including empty ones, but add nothing after a final line break."""
    for line in _LINE.finditer(text):
        run.check_time(spot)
        run.write(indent + line[0], spot)

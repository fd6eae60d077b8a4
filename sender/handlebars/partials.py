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
from sender.handlebars.values import as_dict, string_of

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
        if hash_ is not None:
            value = as_dict(value) | {key: get(scope) for key, get in hash_.items()}
        if indent:
            run, render = scope.run, partial.call_partial
            text = run.captured(lambda: render(run, value, data, partials))
            _write_indented(text, indent, run, spot)
        else:
            partial.call_partial(scope.run, value, data, partials)

    return step


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
        run.write(indent + line[0], spot)

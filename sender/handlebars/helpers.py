"""The built-in helpers of handlebars.js 4.7. Custom helpers don't exist: templates are data, not code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.runtime import Block, PartialBlock, Scope, framed
from sender.handlebars.values import UNDEFINED, in_key_order, is_empty, is_nothing, is_true, property_of, string_of


class Options(NamedTuple):
    """The context of a helper's call, besides its arguments.

    `block` and `inverse` are None if absent; `is_block` says whether the helper was called as a block.
    """

    name: str
    scope: Scope
    hash: dict[str, Any]
    block: Block | None
    inverse: Block | None
    is_block: bool
    spot: Spot

    def fail(self, text: str) -> NoReturn:
        """Raise `TemplateError` for this call; `text` continues a sentence that begins with the helper's name."""
        raise TemplateError(self.spot, f"'{self.name}' {text}.")

    def only_argument(self, args: list[Any]) -> Any:
        """The single argument of a block helper; a partial block is replaced by its output."""
        if len(args) != 1:
            self.fail("takes exactly one argument")
        if not self.is_block:
            self.fail(f"is a block: '{{{{#{self.name} …}}}}'")
        return plain_value(args[0], self.scope)


Helper = Callable[[Options, list[Any]], Any]


def plain_value(value: Any, scope: Scope) -> Any:
    """The value, or the output of a partial block."""
    return value.text(scope.run) if isinstance(value, PartialBlock) else value


def section(scope: Scope, value: Any, block: Block | None, inverse: Block | None) -> None:
    """`{{#name}}…{{/name}}` for a value: renders the block once or for each item, or the inverse."""
    if value is True:
        _render(block, scope.context)
    elif value is False or is_nothing(value) or value == []:
        _render(inverse, scope.context)
    elif isinstance(value, list):
        _for_each(scope, len(value), enumerate(value), block)
    elif block:
        # As in handlebars.js, the enclosing block params become those of the section.
        block(value, scope.data, scope.params)


def _render(block: Block | None, context: Any) -> None:
    if block:
        block(context)


def _if(options: Options, args: list[Any]) -> Any:
    condition = _condition(options, args)
    _render(options.block if condition else options.inverse, options.scope.this)
    return UNDEFINED


def _unless(options: Options, args: list[Any]) -> Any:
    condition = _condition(options, args)
    _render(options.inverse if condition else options.block, options.scope.this)
    return UNDEFINED


def _condition(options: Options, args: list[Any]) -> bool:
    value = options.only_argument(args)
    return not is_empty(value) and (is_true(value) or is_true(options.hash.get("includeZero")))


def _with(options: Options, args: list[Any]) -> Any:
    value, scope = options.only_argument(args), options.scope
    if is_empty(value):
        _render(options.inverse, scope.this)
    elif options.block:
        options.block(value, scope.data, (value,))
    return UNDEFINED


def _each(options: Options, args: list[Any]) -> Any:
    value, scope = options.only_argument(args), options.scope
    match value:
        case list() if value:
            _for_each(scope, len(value), enumerate(value), options.block)
        case dict() if value:
            with scope.run.copying(len(value), options.spot):
                keys = in_key_order(value)
                _for_each(scope, len(keys), ((key, value[key]) for key in keys), options.block)
        case _:
            _render(options.inverse, scope.this)
    return UNDEFINED


def _for_each(scope: Scope, count: int, pairs: Iterable[tuple[Any, Any]], block: Block | None) -> None:
    if block is None:
        return
    data = framed(scope.data)
    last = count - 1
    for index, (key, value) in enumerate(pairs):
        data["key"], data["index"], data["first"], data["last"] = key, index, index == 0, index == last
        block(value, data, (value, key))


def _lookup(options: Options, args: list[Any]) -> Any:
    if len(args) not in (1, 2) or (len(args) == 1 and is_true(args[0])):
        options.fail("takes a value and the name of what to look up in it")
    options.scope.run.check_time(options.spot)
    if not is_true(args[0]):
        return args[0]
    return property_of(args[0], string_of(args[1]))


def _log(options: Options, args: list[Any]) -> Any:
    """Does nothing: mail content must not be logged."""
    return UNDEFINED


#: The helpers by name. As in handlebars.js, they take precedence over fields of the data.
HELPERS: dict[str, Helper] = {
    "each": _each,
    "if": _if,
    "log": _log,
    "lookup": _lookup,
    "unless": _unless,
    "with": _with,
}

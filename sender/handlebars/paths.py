"""Resolves paths: `name`, `a.b`, `../a`, `@index`, `this`, also in strict mode."""

from __future__ import annotations

from typing import Any

from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.nodes import Path
from sender.handlebars.runtime import Getter, Scope
from sender.handlebars.values import UNDEFINED, has_property, is_nothing, is_true, property_of


def path_getter(path: Path, param: tuple[int, int] | None, *, strict: bool, printed: bool) -> Getter:
    """A function that returns the value at the path for a scope.

    `param` is the block param at the start of the path: the number of programs outwards, and its index there. With
    `strict`, the function raises `TemplateError` if a value on the way is missing and, with `printed`, also if the last
    one is.
    """
    start, names = _start(path, param)
    if strict:
        return _strict(start, names, path.spot, must_exist=printed and param is None)
    if not names:
        return start
    if path.data and param is None:
        return _guarded(start, names)
    if path.depth == 0 and param is None and len(names) == 1:
        return _field(names[0])
    return _lenient(start, names)


def _start(path: Path, param: tuple[int, int] | None) -> tuple[Getter, tuple[str, ...]]:
    """The getter of the path's first value, and the remaining names."""
    depth = path.depth
    names = path.parts if path.parts and path.parts[0] else ()  # as in handlebars.js, an empty first name is `this`
    if param is not None:
        programs, number = param
        return _block_param(programs, number, path), names[1:]
    if path.data and names:
        return lambda scope: _frame(scope, depth), names
    if depth:
        return lambda scope: scope.level(depth), names
    return lambda scope: scope.context, names


def _frame(scope: Scope, depth: int) -> Any:
    frame: Any = scope.data
    while depth and frame:
        depth, frame = depth - 1, frame.get("_parent")
    return frame


def _block_param(programs: int, number: int, path: Path) -> Getter:
    def get(scope: Scope) -> Any:
        values = scope.params[programs] if programs < len(scope.params) else None
        if values is None:
            raise TemplateError(path.spot, f"The block gives no value to '{path.parts[0]}'.")
        return values[number] if number < len(values) else UNDEFINED

    return get


def _field(name: str) -> Getter:
    def get(scope: Scope) -> Any:
        context = scope.context
        if context.__class__ is dict:
            return context.get(name, UNDEFINED)
        return property_of(context, name)

    return get


def _lenient(start: Getter, names: tuple[str, ...]) -> Getter:
    def get(scope: Scope) -> Any:
        value = start(scope)
        for name in names:
            value = value.get(name, UNDEFINED) if value.__class__ is dict else property_of(value, name)
        return value

    return get


def _guarded(start: Getter, names: tuple[str, ...]) -> Getter:
    """Like `@` paths in handlebars.js: the first falsy value on the way is the result."""

    def get(scope: Scope) -> Any:
        value = start(scope)
        for name in names:
            if not is_true(value):
                return value
            value = property_of(value, name)
        return value

    return get


def _strict(start: Getter, names: tuple[str, ...], spot: Spot, *, must_exist: bool) -> Getter:
    def get(scope: Scope) -> Any:
        value = start(scope)
        for index, name in enumerate(names):
            last = must_exist and index == len(names) - 1
            if is_nothing(value) or (last and not (isinstance(value, dict | list) and has_property(value, name))):
                raise TemplateError(spot, f"There is no '{name}' in the data.")
            value = property_of(value, name)
        return value

    return get

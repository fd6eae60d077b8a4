"""Compiles the tree to functions: each statement becomes a step, each expression a getter; both take a scope.

The split between compile time and run time, and the order of name look-ups, follow handlebars.js 4.7 (`compiler.js`,
`javascript-compiler.js`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sender.handlebars import nodes
from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.helpers import HELPERS, Helper, Options, plain_value, section
from sender.handlebars.partials import call_partial
from sender.handlebars.paths import path_getter
from sender.handlebars.runtime import Block, Getter, Program, Scope, Step
from sender.handlebars.values import UNDEFINED, escape, is_nothing, string_of, text_of

# Names of internal helpers of handlebars.js, which templates can't call.
_INTERNAL = ("helperMissing", "blockHelperMissing")
# handlebars.js looks for "this" anywhere in the path: `{{methis}}` is scoped, too, so it is no helper or block param.
_SCOPED = re.compile(r"^\.|this\b", re.ASCII)

_Inline = Callable[[Scope], tuple[str, Block]]


@dataclass(frozen=True, slots=True)
class Mode:
    """Compiler options.

    `escape`: the output of `{{…}}` is escaped for HTML. `strict`: printing a missing value is an error.
    """

    escape: bool = True
    strict: bool = False


class Compiler:
    """Compiles one tree; afterwards, `uses_partials` says whether it calls any partial."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._params: list[tuple[str, ...]] = []  # block params of the enclosing programs, the innermost first
        self.uses_partials = False

    def program(self, program: nodes.Program) -> Program:
        """Compile the program and all programs inside it. Raises `TemplateError`."""
        self._params.insert(0, program.block_params)
        steps: list[Step | str] = []
        inlines: list[_Inline] = []
        for statement in program.body:
            match statement:
                case nodes.Content():
                    if statement.value:
                        steps.append(statement.value)
                case nodes.Mustache(decorator=True):
                    inlines.append(self._inline(statement.call, None))
                case nodes.Block(decorator=True):
                    inlines.append(self._inline(statement.call, statement.program))
                case nodes.Mustache():
                    steps.append(self._mustache(statement))
                case nodes.Block():
                    steps.append(self._block(statement))
                case nodes.Partial():
                    steps.append(self._partial(statement, None))
                case nodes.PartialBlock():
                    steps.append(self._partial(statement.partial, self.program(statement.program)))
        del self._params[0]
        return Program(steps, inlines, program.spot)

    def _mustache(self, statement: nodes.Mustache) -> Step:
        value = self._value(statement.call, definite=False)
        escaped = statement.escaped and self._mode.escape
        return (_print_escaped if escaped else _print)(value, statement.call.spot)

    def _value(self, call: nodes.Call, *, definite: bool) -> Getter:
        """The getter of a mustache's or subexpression's value: a helper's result, or the value at the path."""
        path = as_path(call.name)
        helper = self._helper_name(call, path, definite)
        if helper is None:
            return self._path(path, printed=True)
        return self._call(call, helper, None, None, is_block=False)

    def _block(self, statement: nodes.Block) -> Step:
        program = self.program(statement.program) if statement.program else None
        inverse = self.program(statement.inverse) if statement.inverse else None
        call, path = statement.call, as_path(statement.call.name)
        helper = self._helper_name(call, path, definite=False)
        if helper is None:
            return _section(self._path(path, printed=True), program, inverse)
        return _print(self._call(call, helper, program, inverse, is_block=True), call.spot)

    def _helper_name(self, call: nodes.Call, path: nodes.Path, definite: bool) -> str | None:
        """The name of the helper to call; None if the call is the value at a path."""
        return helper_name(call, path, is_param=self._block_param(path) is not None, definite=definite)

    def _call(
        self, call: nodes.Call, name: str, program: Program | None, inverse: Program | None, *, is_block: bool
    ) -> Getter:
        helper, spot = HELPERS.get(name), call.spot
        if helper is None:
            return _missing_helper(as_path(call.name).original, spot)
        return _invocation(
            name,
            helper,
            [self._expression(param) for param in call.params],
            self._hash(call.hash),
            (program, inverse) if is_block else None,
            spot,
        )

    def _expression(self, expression: nodes.Expression) -> Getter:
        match expression:
            case nodes.Path():
                return self._path(expression, printed=False)
            case nodes.Literal(value=value):
                return lambda scope: value
            case nodes.Call():
                return self._value(expression, definite=True)

    def _hash(self, pairs: Mapping[str, nodes.Expression]) -> dict[str, Getter]:
        """As in handlebars.js, `a=undefined` is ignored, but a path to a missing value is not."""
        return {
            key: self._expression(value)
            for key, value in pairs.items()
            if not (isinstance(value, nodes.Literal) and value.value is UNDEFINED)
        }

    def _path(self, path: nodes.Path, *, printed: bool) -> Getter:
        param = None if is_scoped(path) else self._block_param(path)
        return path_getter(path, param, strict=self._mode.strict, printed=printed)

    def _block_param(self, path: nodes.Path) -> tuple[int, int] | None:
        if path.parts:
            for programs, names in enumerate(self._params):
                if path.parts[0] in names:
                    return programs, names.index(path.parts[0])
        return None

    def _inline(self, call: nodes.Call, program: nodes.Program | None) -> _Inline:
        name, spot = as_path(call.name).original, call.spot
        compiled = self.program(program) if program else None
        partial_name = self._expression(call.params[0]) if call.params else lambda scope: UNDEFINED

        def define(scope: Scope) -> tuple[str, Block]:
            if name != "inline" or compiled is None:
                raise TemplateError(spot, "The only decorator is '{{#*inline \"name\"}}…{{/inline}}'.")
            return string_of(partial_name(scope)), Block(compiled, scope)

        return define

    def _partial(self, partial: nodes.Partial, program: Program | None) -> Step:
        self.uses_partials = True
        name = partial.name
        return call_partial(
            self._expression(name) if isinstance(name, nodes.Call) else as_path(name).original,
            self._expression(partial.params[0]) if partial.params else None,
            self._hash(partial.hash) if partial.hash else None,
            program,
            partial.indent,
            partial.spot,
        )


def is_scoped(path: nodes.Path) -> bool:
    """Whether the path can only be a field of a context: it begins with `this`, `.` or `../`."""
    return bool(path.depth or _SCOPED.search(path.original))


def helper_name(call: nodes.Call, path: nodes.Path, *, is_param: bool, definite: bool) -> str | None:
    """The name of the helper to call; None if the call is the value at `path`, its name.

    `is_param`: the path begins with a block param. `definite`: it is a subexpression, which must be a helper's call.
    """
    simple = len(path.parts) == 1 and not is_scoped(path)
    if simple and is_param:
        return None
    name = path.parts[0] if path.parts else path.original
    if definite or call.params or call.hash or (simple and (name in HELPERS or name in _INTERNAL)):
        return name
    return None


def as_path(name: nodes.Path | nodes.Literal) -> nodes.Path:
    """A literal in the position of a name is a name: `{{12}}` prints the field `12`."""
    if isinstance(name, nodes.Path):
        return name
    text = string_of(name.value)
    return nodes.Path(text, False, 0, (text,), name.spot)


def _print(value: Getter, spot: Spot) -> Step:
    def step(scope: Scope) -> None:
        result = value(scope)
        if not is_nothing(result):
            scope.run.write(text_of(plain_value(result, scope)), spot)

    return step


def _print_escaped(value: Getter, spot: Spot) -> Step:
    def step(scope: Scope) -> None:
        result = value(scope)
        if result.__class__ is not str:
            result = text_of(plain_value(result, scope))
        scope.run.write(escape(result), spot)

    return step


def _section(value: Getter, program: Program | None, inverse: Program | None) -> Step:
    def step(scope: Scope) -> None:
        block = Block(program, scope) if program else None
        section(scope, plain_value(value(scope), scope), block, Block(inverse, scope) if inverse else None)

    return step


def _invocation(
    name: str,
    helper: Helper,
    params: list[Getter],
    hash_: dict[str, Getter],
    programs: tuple[Program | None, Program | None] | None,
    spot: Spot,
) -> Getter:
    program, inverse = programs or (None, None)
    is_block = programs is not None

    def call(scope: Scope) -> Any:
        options = Options(
            name,
            scope,
            scope.run.evaluated(hash_, scope, spot),
            Block(program, scope) if program else None,
            Block(inverse, scope) if inverse else None,
            is_block,
            spot,
        )
        return helper(options, [param(scope) for param in params])

    return call


def _missing_helper(name: str, spot: Spot) -> Getter:
    def fail(scope: Scope) -> Any:
        raise TemplateError(spot, f"There is no helper '{name}'.")

    return fail

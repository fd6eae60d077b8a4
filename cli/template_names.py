"""Which names in a template lead nowhere: helpers, partials and, with example data, variables. Pure.

It walks the syntax tree with the values that the example data has at each place, as rendering would, but through all
branches. Nothing is said about what may have any value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from cli.template_places import ANY, UNKNOWN, Place, Values, items_of, start_of
from sender.handlebars import Spot, nodes
from sender.handlebars.compiler import as_path, helper_name
from sender.handlebars.helpers import HELPERS
from sender.handlebars.values import UNDEFINED, property_of

#: How often a partial is walked for one template. Partials may call each other in exponentially many ways.
_MOST_WALKS: Final = 20
_CONDITIONS: Final = ("if", "unless")
_LOOPS: Final = ("each", "with")


@dataclass(frozen=True, slots=True)
class Finding:
    """A name that leads nowhere, and where it stands."""

    spot: Spot
    text: str


#: Finds a partial's tree: None if there is no partial of that name, or no part of it.
FindPartial = Callable[[str], "nodes.Program | None"]


def findings(tree: nodes.Program, partials: FindPartial, data: Mapping[str, Any] | None) -> list[Finding]:
    """The names in a template that lead nowhere, in order; without data, nothing is said about variables."""
    root = UNKNOWN if data is None else (data,)
    walker = _Walker(partials, follow=data is not None)
    try:
        walker.program(tree, Place((root,), root))
    except RecursionError:
        walker.found.append(Finding(tree.spot, "Blocks and partials are nested too deeply to be checked."))
    return list(dict.fromkeys(walker.found))


class _Walker:
    def __init__(self, partials: FindPartial, *, follow: bool) -> None:
        """`follow`: also walk the partials that are called, because their variables depend on the call."""
        self.found: list[Finding] = []
        self._partials = partials
        self._follow = follow
        self._walks: dict[str, int] = {}
        self._active: list[str] = []

    def program(self, program: nodes.Program | None, place: Place) -> None:
        if program is None:
            return
        inlines = {name for each in program.body if (name := _inline_name(each)) is not None}
        place = replace(place, inlines=place.inlines | inlines)
        for statement in program.body:
            self._statement(statement, place)

    def _statement(self, statement: nodes.Statement, place: Place) -> None:
        match statement:
            case nodes.Mustache(decorator=True) | nodes.Block(decorator=True):
                self._decorator(statement, place)
            case nodes.Mustache():
                self._call(statement.call, place)
            case nodes.Block():
                self._block(statement, place)
            case nodes.Partial():
                self._partial(statement, None, place)
            case nodes.PartialBlock():
                self._partial(statement.partial, statement.program, place)

    def _report(self, spot: Spot, text: str) -> None:
        self.found.append(Finding(spot, text))

    def _decorator(self, statement: nodes.Mustache | nodes.Block, place: Place) -> None:
        if isinstance(statement, nodes.Mustache) or as_path(statement.call.name).original != "inline":
            self._report(statement.call.spot, "The only decorator is '{{#*inline \"name\"}}…{{/inline}}'.")
        else:
            self.program(statement.program, replace(place, contexts=(UNKNOWN, *place.contexts)))

    def _call(self, call: nodes.Call, place: Place, *, definite: bool = False) -> Values:
        """The values of a mustache or subexpression."""
        helper = self._helper(call, place, definite=definite)
        if helper is None:
            return self._variable(as_path(call.name), place)
        self._arguments(call, place)
        return UNKNOWN

    def _helper(self, call: nodes.Call, place: Place, *, definite: bool = False) -> str | None:
        """The name of the helper that is called, which may not exist; None if it is a variable."""
        path = as_path(call.name)
        is_param = bool(path.parts) and path.parts[0] in place.params
        name = helper_name(call, path, is_param=is_param, definite=definite)
        if name is not None and name not in HELPERS:
            self._report(call.spot, f"There is no helper '{path.original}'.")
        return name

    def _arguments(self, call: nodes.Call | nodes.Partial, place: Place) -> list[Values]:
        for each in call.hash.values():
            self._expression(each, place)
        return [self._expression(each, place) for each in call.params]

    def _expression(self, expression: nodes.Expression, place: Place) -> Values:
        match expression:
            case nodes.Path():
                return self._variable(expression, place)
            case nodes.Literal(value=value):
                return (value,)
            case nodes.Call():
                return self._call(expression, place, definite=True)

    def _variable(self, path: nodes.Path, place: Place, *, required: bool = True) -> Values:
        """The values of a variable; unless one that is `required` has some everywhere, it is reported."""
        variable, values = start_of(path, place)
        for name in variable[1]:
            values = tuple(each if each is ANY else property_of(each, name) for each in values)
        if UNDEFINED not in values:
            return values
        if required and not place.may_lack(variable):
            self._report(path.spot, _lack(path, place, values))
        return tuple(each for each in values if each is not UNDEFINED) or UNKNOWN

    def _block(self, block: nodes.Block, place: Place) -> None:
        name = self._helper(block.call, place)
        if name is None:
            self._section(block, place)
        elif name in _CONDITIONS:
            tested = [each for each in block.call.params if isinstance(each, nodes.Path)]
            for each in block.call.params:
                if not isinstance(each, nodes.Path):
                    self._expression(each, place)
            self._programs(block, replace(place, tested=place.tested | {start_of(each, place)[0] for each in tested}))
        elif name in _LOOPS:
            self._loop(name, block, place)
        else:
            self._arguments(block.call, place)
            self._programs(block, place if name in HELPERS else replace(place, contexts=(UNKNOWN, *place.contexts)))

    def _programs(self, block: nodes.Block, place: Place) -> None:
        for program in block.programs:
            self.program(program, place)

    def _section(self, block: nodes.Block, place: Place) -> None:
        """`{{#name}}…{{/name}}` is a condition, and a loop over a list, or a change of the context."""
        path = as_path(block.call.name)
        values = self._variable(path, place, required=False)
        place = replace(place, tested=place.tested | {start_of(path, place)[0]})
        if values and all(each is True for each in values):
            self.program(block.program, place)
        else:
            self.program(block.program, place.within(items_of(values, lists_only=True), {}, loops=True))
        self.program(block.inverse, place)

    def _loop(self, name: str, block: nodes.Block, place: Place) -> None:
        """`each` and `with`; one with `{{else}}` also expects that there is nothing."""
        values = UNKNOWN
        for param in block.call.params:
            if isinstance(param, nodes.Path):
                values = self._variable(param, place, required=block.inverse is None)
            else:
                values = self._expression(param, place)
        inner = items_of(values, lists_only=False) if name == "each" else values
        if block.program:
            first, *others = (*block.program.block_params, "")
            params = {first: inner, **dict.fromkeys(others, UNKNOWN)}
            self.program(block.program, place.within(inner, params, loops=name == "each"))
        self.program(block.inverse, place)

    def _partial(self, partial: nodes.Partial, program: nodes.Program | None, place: Place) -> None:
        context = self._arguments(partial, place)
        self.program(program, place)
        if isinstance(partial.name, nodes.Call):
            self._call(partial.name, place, definite=True)
            return
        name = as_path(partial.name).original
        if name == "@partial-block" or name in place.inlines:
            return
        tree = self._partials(name)
        if tree is None and program is None:
            self._report(partial.spot, f"There is no partial '{name}' for this part.")
        if tree is not None and self._follow:
            with self._walking(name) as goes_on:
                if goes_on:
                    self._called(tree, partial, context[0] if context else place.contexts[0], place)

    def _called(self, tree: nodes.Program, partial: nodes.Partial, context: Values, place: Place) -> None:
        given = {name: self._expression(each, place) for name, each in partial.hash.items()}
        if given:
            added = {name: values[0] if len(values) == 1 else ANY for name, values in given.items()}
            context = tuple({**each, **added} if isinstance(each, Mapping) else ANY for each in context)
        self.program(tree, Place((context,), place.root, inlines=place.inlines, loops=place.loops))

    @contextmanager
    def _walking(self, name: str) -> Iterator[bool]:
        """Whether to walk the partial in the block: not within itself, and not too often."""
        self._walks[name] = self._walks.get(name, 0) + 1
        goes_on = name not in self._active and self._walks[name] <= _MOST_WALKS
        self._active.append(name)
        yield goes_on
        self._active.pop()


def _inline_name(statement: nodes.Statement) -> str | None:
    """The name of the inline partial that the statement defines, if it has a fixed one."""
    match statement:
        case nodes.Block(decorator=True, call=nodes.Call(params=(nodes.Path() | nodes.Literal() as name, *_))):
            return as_path(name).original
    return None


def _lack(path: nodes.Path, place: Place, values: Values) -> str:
    if path.depth >= len(place.contexts) and not path.data:
        return f"'{path.original}' leads out of the template's data."
    some = any(each is not UNDEFINED for each in values)
    return f"{'Some of the data' if some else 'The data'} has no '{path.original}'."

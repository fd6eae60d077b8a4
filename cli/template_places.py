"""What is visible at a place of a template: contexts, block params, `@` data, with the values that example data has.

Pure; a part of `template_names`. A place may have several values (the items of a list), or any (`ANY`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from sender.handlebars import nodes
from sender.handlebars.compiler import is_scoped
from sender.handlebars.values import UNDEFINED


class Anything(Enum):
    """The value of `ANY`: it may be anything."""

    ANY = "any"


ANY: Final = Anything.ANY
#: All values that something may have.
Values = tuple[Any, ...]
UNKNOWN: Final[Values] = (ANY,)

#: Items of a list that are looked at; example data has few.
_MOST_ITEMS: Final = 50
_FRAME: Final = ("index", "key", "first", "last")

#: A variable, whatever the place that names it: where its path begins, and the path.
Variable = tuple[object, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """What is visible at a place: contexts (the innermost first), block params, and the partials of blocks.

    `tested` are variables that a condition around the place tests: they may be absent. `loops`: a loop is around it.
    """

    contexts: tuple[Values, ...]
    root: Values
    params: Mapping[str, Values] = field(default_factory=dict)
    inlines: frozenset[str] = frozenset()
    tested: frozenset[Variable] = frozenset()
    loops: bool = False

    def within(self, values: Values, params: Mapping[str, Values], *, loops: bool) -> Place:
        """The place inside of a block with these contexts, which may be a loop."""
        return replace(
            self,
            contexts=(values, *self.contexts),
            params={**self.params, **params},
            loops=self.loops or loops,
        )

    def may_lack(self, variable: Variable) -> bool:
        """Whether a condition tests the variable, or one that it is a part of, or a part of it."""
        start, names = variable
        return any(
            start == other and all(a == b for a, b in zip(names, path, strict=False)) for other, path in self.tested
        )


def start_of(path: nodes.Path, place: Place) -> tuple[Variable, Values]:
    """The variable that a path names, and the values at the path's beginning."""
    names = path.parts if path.parts and path.parts[0] else ()
    if path.data:
        if names[:1] == ("root",):
            return ("@root", names[1:]), place.root
        exists = names[:1] == ("partial-block",) or (place.loops and names[:1] and names[0] in _FRAME)
        return ("@", names), UNKNOWN if exists or place.root is UNKNOWN else (UNDEFINED,)
    if names and not is_scoped(path) and names[0] in place.params:
        return (names[0], names[1:]), place.params[names[0]]
    if path.depth >= len(place.contexts):
        return ((), names), (UNDEFINED,)
    return (len(place.contexts) - path.depth, names), place.contexts[path.depth]


def items_of(values: Values, *, lists_only: bool) -> Values:
    """The contexts of a loop's rounds; any, if the data has none."""
    found: list[Any] = []
    for each in values:
        match each:
            case list():
                found += each[:_MOST_ITEMS]
            case Mapping() if not lists_only:
                found += list(each.values())[:_MOST_ITEMS]
            case _ if lists_only:
                found.append(ANY if each in (None, False) else each)
            case _:
                found.append(ANY)
    return tuple(found[:_MOST_ITEMS]) or UNKNOWN

"""The run-time objects of rendering: output and limits, contexts, frames of `@` data, blocks.

The structure follows handlebars.js 4.7 (`runtime.js`), because the meaning of `../`, `@../`, block params and inline
partials depends on which object captures what:

    Run        one rendering: output, limits, stored partials
    Container  one call of a template: the partials that are currently visible, including inline ones
    Scope      one call of a program (the body of a template or block): its context and its surroundings
    Block      a closure: a program and its enclosing scope
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any, Protocol, TypeAlias

from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.values import UNDEFINED, is_nothing, is_same

#: A frame of `@` data. It contains its parent's entries, and the parent itself as `_parent`.
Frame: TypeAlias = dict[str, Any]
#: The enclosing contexts as a linked list, the innermost first.
Levels: TypeAlias = "tuple[Any, Levels] | None"

Step: TypeAlias = "Callable[[Scope], None]"
Getter: TypeAlias = "Callable[[Scope], Any]"

# Each call of a block defines its inline partials anew.
_MAX_INLINES = 500

PARTIAL_BLOCK = "partial-block"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one rendering: wall-clock seconds, characters of output, nested blocks and partials.

    `copies` is the number of entries of maps and lists, and characters of strings, that may be copied at a time to add
    the arguments of a partial, or to sort keys: recursion keeps the copies of all levels.

    `announce` is called once if there are more than `quiet` characters; an error that it raises ends the rendering.
    """

    seconds: float = 5.0
    characters: int = 10_000_000
    depth: int = 100
    copies: int = 100_000
    quiet: int = 10_000_000
    announce: Callable[[], None] = lambda: None


class Partial(Protocol):
    """A partial that `{{> name}}` can call."""

    def call_partial(self, run: Run, context: Any, data: Frame, partials: Partials) -> None:
        """Render the partial with a context into the run's output. Raises `TemplateError`."""
        ...


Partials: TypeAlias = Mapping[str, Partial]


class Run:
    """One rendering. `stored` looks up partials that are not inline."""

    def __init__(self, stored: Callable[[str], Partial | None], limits: Limits, clock: Callable[[], float]) -> None:
        self.stored = stored
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._left = limits.characters
        self._quiet_until = max(0, limits.characters - limits.quiet)
        self._depth = 0
        self._copies = 0
        self.out = StringIO()  # compact, whereas a list takes 60 bytes for each short text

    def write(self, text: str, spot: Spot) -> None:
        """Append to the output. Raises `TemplateError` beyond the limit."""
        self._count(len(text), spot)
        self.out.write(text)

    def captured(self, render: Callable[[], None]) -> str:
        """The output of `render`, which is returned instead of written."""
        outer, self.out = self.out, StringIO()
        render()
        text, self.out = self.out.getvalue(), outer
        self._left += len(text)
        return text

    def text(self) -> str:
        """The whole output."""
        return self.out.getvalue()

    def enter(self, characters: int, spot: Spot) -> None:
        """Begin a program that will append this number of characters to `out` directly.

        `leave` must follow unless rendering fails. Raises `TemplateError` beyond a limit.
        """
        self._count(characters, spot)
        self._depth += 1
        if self._depth > self._limits.depth:
            raise TemplateError(spot, f"More than {self._limits.depth} blocks and partials are nested here.")
        self.check_time(spot)

    def leave(self) -> None:
        """End a program."""
        self._depth -= 1

    @contextmanager
    def copying(self, entries: int, spot: Spot) -> Iterator[None]:
        """Count copied entries for as long as the block runs. Raises `TemplateError` beyond the limit."""
        self._copies += entries
        if self._copies > self._limits.copies:
            raise TemplateError(spot, f"More than {self._limits.copies:,} entries of the data are copied here.")
        yield
        self._copies -= entries

    def evaluated(self, getters: Mapping[str, Getter], scope: Scope, spot: Spot) -> dict[str, Any]:
        """The values of hash arguments. Raises `TemplateError` after the time limit."""
        values = {}
        for name, get in getters.items():
            self.check_time(spot)
            values[name] = get(scope)
        return values

    def check_time(self, spot: Spot) -> None:
        """Raise `TemplateError` after the time limit."""
        if self._clock() > self._deadline:
            raise TemplateError(spot, "Rendering takes too long; time was up here.")

    def _count(self, characters: int, spot: Spot) -> None:
        self._left -= characters
        if self._left < 0:
            raise TemplateError(spot, f"The output exceeds {self._limits.characters:,} characters here.")
        if self._left < self._quiet_until:
            self._quiet_until = 0
            self._limits.announce()


class Container:
    """One call of a template. Blocks of helpers get `null_context` instead of a null context."""

    __slots__ = ("null_context", "partials", "run")

    def __init__(self, run: Run, partials: Partials) -> None:
        self.run = run
        self.partials = partials
        self.null_context: dict[str, Any] = {}


class Scope:
    """One call of a program. `params` are the values of block params, the innermost program's first."""

    __slots__ = ("container", "context", "data", "levels", "params", "partials", "run")

    def __init__(
        self, container: Container, context: Any, data: Frame, levels: Levels, params: tuple[Any, ...]
    ) -> None:
        self.container = container
        self.run = container.run
        self.partials = container.partials
        self.context = context
        self.data = data
        self.levels = levels
        self.params = params

    @property
    def this(self) -> Any:
        """The context that a helper passes to its block."""
        return self.container.null_context if is_nothing(self.context) else self.context

    def level(self, depth: int) -> Any:
        """The context `depth` levels out (one per `../`); undefined beyond the outermost."""
        levels = self.levels
        while depth and levels:
            depth, levels = depth - 1, levels[1]
        return levels[0] if levels else UNDEFINED


class Program:
    """A compiled program: its steps (plain text as strings) and the inline partials defined in it."""

    __slots__ = ("_characters", "_inlines", "_spot", "_steps")

    def __init__(
        self, steps: list[Step | str], inlines: list[Callable[[Scope], tuple[str, Block]]], spot: Spot
    ) -> None:
        if len(inlines) > _MAX_INLINES:
            raise TemplateError(spot, f"More than {_MAX_INLINES:,} inline partials are defined here.")
        self._steps = steps
        self._inlines = inlines
        self._spot = spot
        self._characters = sum(len(step) for step in steps if isinstance(step, str))

    def run(self, scope: Scope) -> None:
        """Render the program in a new scope. Raises `TemplateError`."""
        run = scope.run
        run.enter(self._characters, self._spot)
        write = run.out.write
        for step in self._steps:
            if isinstance(step, str):
                write(step)
            else:
                run.check_time(self._spot)
                step(scope)
        run.leave()

    def inlines(self, around: Scope) -> dict[str, Block]:
        """The program's inline partials, defined in the enclosing scope before the program runs."""
        return dict(inline(around) for inline in self._inlines) if self._inlines else {}


class Block:
    """A program and its enclosing scope."""

    __slots__ = ("_program", "_scope", "inlines")

    def __init__(self, program: Program, scope: Scope) -> None:
        self._program = program
        self._scope = scope
        self.inlines = program.inlines(scope)

    def __call__(self, context: Any, data: Frame | None = None, params: Any = None) -> None:
        """Render the program; `data` and `params` come from the helper, if it has any."""
        around = self._scope
        container, levels = around.container, around.levels
        outer = levels[0] if levels else UNDEFINED
        if not (is_same(context, outer) or (context is container.null_context and outer is None)):
            levels = (context, levels)
        partials = container.partials
        if self.inlines:
            container.partials = {**partials, **self.inlines}
        self._program.run(Scope(container, context, data or around.data, levels, (params, *around.params)))
        container.partials = partials

    def call_partial(self, run: Run, context: Any, data: Frame, partials: Partials) -> None:
        """Render as an inline partial, which sees the partials of the template that defines it."""
        self(context, data)


class PartialBlock:
    """The content of `{{#> name}}…{{/name}}`, which the partial can call as `@partial-block`."""

    __slots__ = ("_block", "_outer")

    def __init__(self, block: Block, outer: PartialBlock | None) -> None:
        self._block = block
        self._outer = outer

    def call_partial(self, run: Run, context: Any, data: Frame, partials: Partials) -> None:
        """Render the block; inside, `@partial-block` refers to the enclosing one."""
        self._block(context, {**framed(data), PARTIAL_BLOCK: self._outer})

    def text(self, run: Run) -> str:
        """The output of the block when used as a value, as in `{{#if @partial-block}}`."""
        return run.captured(lambda: self.call_partial(run, UNDEFINED, {}, {}))


def framed(data: Frame) -> Frame:
    """A new frame within the given one."""
    return {**data, "_parent": data}

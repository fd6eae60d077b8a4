"""A compiled template: the interface of this package."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sender.handlebars.compiler import Compiler, Mode
from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.parser import parse
from sender.handlebars.runtime import Container, Frame, Limits, Partial, Partials, Program, Run, Scope
from sender.handlebars.values import UNDEFINED
from sender.handlebars.whitespace import control_whitespace


class Template:
    """A compiled template, reusable and thread-safe."""

    def __init__(self, program: Program, origin: str, *, uses_partials: bool) -> None:
        self._program = program
        self._origin = origin
        self.uses_partials = uses_partials

    def render(
        self,
        data: Any,
        partials: Callable[[str], Partial | None] = lambda name: None,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        clock: Callable[[], float] = time.monotonic,
    ) -> str:
        """Render the template with `data` (see `values`).

        `partials` looks up a compiled partial by name. Raises `TemplateError`, also if a limit is exceeded.
        """
        run = Run(partials, limits, clock)
        try:
            self.call_partial(run, data, {"root": data}, {})
        except RecursionError:
            raise TemplateError(Spot(self._origin, 1, 1), "Blocks and partials are nested too deeply.") from None
        return run.text()

    def call_partial(self, run: Run, context: Any, data: Frame, partials: Partials) -> None:
        """Render as a partial of another template, with its run, `@` data and inline partials."""
        container = Container(run, partials)
        around = Scope(container, UNDEFINED, data, None, ())
        inlines = self._program.inlines(around)
        if inlines:
            container.partials = {**partials, **inlines}
        self._program.run(Scope(container, context, data, (context, None), ()))


def compile_template(source: str, origin: str, mode: Mode = Mode()) -> Template:  # noqa: B008 - immutable
    """Compile a template; `origin` is its name in errors ("html of 'welcome'").

    Raises `TemplateError` if it is malformed.
    """
    try:
        tree = parse(source, origin)
        control_whitespace(tree)
        compiler = Compiler(mode)
        return Template(compiler.program(tree), origin, uses_partials=compiler.uses_partials)
    except RecursionError:
        raise TemplateError(Spot(origin, 1, 1), "Blocks or subexpressions are nested too deeply.") from None

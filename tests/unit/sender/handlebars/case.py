"""The conformance cases: a template with its input, and the output of handlebars.js 4.7.10."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sender.handlebars import Mode, TemplateError, compile_template


class Case(NamedTuple):
    """`expected` is the output, or None if rendering or compiling must fail."""

    about: str
    template: str
    data: Any
    expected: str | None
    partials: Mapping[str, str] = {}
    escape: bool = True
    strict: bool = False


def rendered(case: Case) -> str | None:
    """The output of our engine."""
    mode = Mode(escape=case.escape, strict=case.strict)
    stored = case.partials
    try:
        template = compile_template(case.template, "case", mode)
        return template.render(
            case.data, lambda name: compile_template(stored[name], name, mode) if name in stored else None
        )
    except TemplateError:
        return None


def all_cases() -> Iterator[tuple[str, Case]]:
    """The cases of all modules in `cases`, by unique name."""
    from tests.unit.sender.handlebars import cases

    for module in pkgutil.iter_modules(cases.__path__):
        for case in importlib.import_module(f"{cases.__name__}.{module.name}").CASES:
            yield f"{module.name}: {case.about}", case

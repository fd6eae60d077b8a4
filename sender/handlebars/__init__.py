"""Handlebars as handlebars.js 4.7 has it: the language of Trigger Email's templates.

Two passes make the tree (`lexer`, `parser`, then `whitespace`), `compiler` makes it functions, once; rendering calls
them. Templates can reach their data and nothing else, within limits of time, output and nesting.
"""

from __future__ import annotations

from sender.handlebars.compiler import Mode
from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.runtime import Limits
from sender.handlebars.template import Template, compile_template

__all__ = ["Limits", "Mode", "Spot", "Template", "TemplateError", "compile_template"]

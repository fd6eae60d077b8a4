"""Handlebars, compatible with handlebars.js 4.7: the language of Trigger Email's templates.

`lexer` and `parser` build a tree, `whitespace` adjusts it, and `compiler` turns it into functions once; rendering calls
them. Templates can access only their data, and are limited in time, output and nesting.
"""

from __future__ import annotations

from sender.handlebars.compiler import Mode
from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.runtime import Limits
from sender.handlebars.template import Template, compile_template

__all__ = ["Limits", "Mode", "Spot", "Template", "TemplateError", "compile_template"]

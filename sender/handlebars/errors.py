"""Where in a template something is wrong, and what."""

from __future__ import annotations

from typing import NamedTuple


class Spot(NamedTuple):
    """A place in a template; line and column count from 1. `origin` says which template, in the caller's words."""

    origin: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.origin}, line {self.line}, column {self.column}"


class TemplateError(Exception):
    """A template can't be compiled or rendered.

    The text begins with the place and says what is wrong there. It may quote the template, never the data.
    """

    def __init__(self, spot: Spot, text: str) -> None:
        super().__init__(f"{spot}: {text}")
        self.spot = spot

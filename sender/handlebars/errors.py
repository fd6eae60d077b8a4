"""Template errors and their positions."""

from __future__ import annotations

from typing import NamedTuple


class Spot(NamedTuple):
    """A position in a template; line and column start at 1. `origin` is the caller's name for the template."""

    origin: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.origin}, line {self.line}, column {self.column}"


class TemplateError(Exception):
    """A template can't be compiled or rendered.

    The text begins with the position and describes the problem. It may quote the template, but never the data.
    """

    def __init__(self, spot: Spot, text: str) -> None:
        super().__init__(f"{spot}: {text}")
        self.spot = spot

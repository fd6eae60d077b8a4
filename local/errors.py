"""The errors that keep the local stack from running."""

from __future__ import annotations


class CannotStart(Exception):
    """The stack can't run here; the text is one sentence that says what to install or change."""


class PartFailed(Exception):
    """A part was started but failed; the text names it, followed by the last lines of its output."""

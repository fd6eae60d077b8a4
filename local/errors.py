"""What can keep the local stack from running."""

from __future__ import annotations


class CannotStart(Exception):
    """The stack can't run here; the text is one sentence that says what to install or change."""


class PartFailed(Exception):
    """A part was started and did not live; the text names it, followed by the last lines that it wrote."""

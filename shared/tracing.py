"""Spans: named stretches of the work on a mail, which `shared.otel` records where an operator wants that.

Where nobody does, a span is nothing, and costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Final, Literal, Protocol

from shared.errors import Misconfigured

#: Adds an attribute to a span.
Annotate = Callable[[str, str | int], None]

#: The setting `TRACES`.
Traces = Literal["off", "otlp"]


class Tracer(Protocol):
    """Records spans."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[Annotate]:
        """A span for the block, below the one that the work at hand belongs to, or else the root of a new trace.

        Within the block `shared.trace` tells of it, so that logs and messages do. Of an error that leaves the block,
        its class is recorded. Attributes are as harmless as log fields must be.
        """
        ...

    def close(self) -> None:
        """Hand over all that was recorded; nothing is recorded after."""
        ...


class NoTracer:
    """Records nothing."""

    def span(self, name: str, **attributes: str) -> AbstractContextManager[Annotate]:
        """See `Tracer.span`."""
        return _NO_SPAN

    def close(self) -> None:
        """See `Tracer.close`."""


def _ignore(name: str, value: str | int) -> None:
    """Nobody wants to know."""


_NO_SPAN: Final = nullcontext[Annotate](_ignore)
NO_TRACER: Final = NoTracer()


def check(traces: Traces) -> None:
    """Raises `Misconfigured` where what the setting needs is not installed."""
    if traces == "otlp":
        _otel()


def connect(service: str, traces: Traces) -> Tracer:
    """What the setting chooses, for the service of that name; raises `Misconfigured`. To be called after any fork."""
    return NO_TRACER if traces == "off" else _otel().connect(service)


def _otel() -> ModuleType:
    """The module is only imported where it is wanted: the SDK takes its time, and is an extra."""
    try:
        return importlib.import_module("shared.otel")
    except ModuleNotFoundError as error:
        raise Misconfigured(f"TRACES=otlp: the extra 'otel' is not installed ({error.name} is missing)") from error

"""Which trace the work at hand belongs to, as its caller has said.

Cloud Run gives every request a trace; a message carries the one in which it was published. It is kept in a context
variable: each request and each message is handled in one thread from beginning to end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

#: The header of W3C's Trace Context, and the attribute of a message that carries its value on.
TRACEPARENT: Final = "traceparent"
_CLOUD_TRACE: Final = "X-Cloud-Trace-Context"

_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD = re.compile(r"(?!0{32})([0-9a-f]{32})/([0-9]{1,20})(?:;o=([0-9]))?")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class Trace:
    """A point in a trace: 32 and 16 hexadecimal digits, and whether the trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def parse(cls, traceparent: str | None) -> Trace | None:
        """Read W3C's format (https://www.w3.org/TR/trace-context/#traceparent-header); None for anything else."""
        if traceparent is None or (match := _W3C.fullmatch(traceparent.strip())) is None:
            return None
        trace_id, span_id, flags = match.groups()
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

    @classmethod
    def parse_cloud(cls, header: str | None) -> Trace | None:
        """Read `X-Cloud-Trace-Context`, TRACE/SPAN;o=OPTIONS with the span in decimal; None for anything else.

        https://cloud.google.com/trace/docs/trace-context#legacy-http-header
        """
        if header is None or (match := _CLOUD.fullmatch(header.strip().lower())) is None:
            return None
        trace_id, span, options = match.groups()
        is_span = 0 < int(span) < 2**64
        return cls(trace_id, f"{int(span):016x}", options == "1") if is_span else None

    def __str__(self) -> str:
        """As W3C's header has it."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.sampled else 0:02x}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The trace of the work at hand, if it has one."""
    return _current.get()


def of_request(header: Callable[[str], str | None]) -> Trace | None:
    """The trace that an HTTP request's headers tell of; W3C's goes before Google's older one."""
    return Trace.parse(header(TRACEPARENT)) or Trace.parse_cloud(header(_CLOUD_TRACE))


def enter(trace: Trace | None) -> None:
    """The work that begins now, in this thread, belongs to `trace`, or to none: not to the one before it."""
    _current.set(trace)


@contextmanager
def within(trace: Trace | None) -> Iterator[None]:
    """Within the block, work belongs to `trace`, or to none."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def following(trace: Trace | None) -> Iterator[None]:
    """Within the block, work belongs to `trace`; where that is None, to what it belonged to anyway."""
    with within(trace or _current.get()):
        yield


def attributes() -> dict[str, str]:
    """What a message that is published now carries on."""
    trace = _current.get()
    return {} if trace is None else {TRACEPARENT: str(trace)}

"""What people see."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from bench.figures import Cost, Quantiles, Row

#: Of what is shown where no terminal says how wide it is.
PIPE_WIDTH = 170


def new_console() -> Console:
    """The terminal, or plain text of a fixed width in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


_HEADINGS = (
    "mails/s", "accept ms\np50 / p95 / p99", "SUCCESS ms\np50 / p95 / p99", "CPU ms\ndispatcher", "\nsender",
    "\nrest", "RSS MB peak (growth)\ndispatcher", "\nsender", "SMTP\nconn.", "round\ntrips",
)  # fmt: skip


def table(title: str, rows: Iterable[Row]) -> Table:
    """All rows."""
    result = Table(title=title, title_justify="left")
    for heading in ("mode", "load"):
        result.add_column(heading)
    for heading in _HEADINGS:
        result.add_column(heading, justify="right")
    for row in rows:
        result.add_row(*cells(row))
    return result


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts; CPU and round trips are per mail."""
    return (
        row.mode,
        row.load,
        f"{row.rate:.0f}",
        _milliseconds(row.to_accept),
        _milliseconds(row.to_success),
        "" if row.dispatcher_ms is None else f"{row.dispatcher_ms:.2f}",
        f"{row.sender_ms:.2f}",
        f"{1000 * row.other_cpu / row.mails:.1f}",
        _memory(row.dispatcher),
        _memory(row.sender),
        f"{row.smtp.connections}" if row.smtp else "",
        f"{row.smtp.round_trips / row.mails:.2f}" if row.smtp else "",
    )


def _milliseconds(seconds: Quantiles | None) -> str:
    if seconds is None:
        return ""
    return " / ".join(f"{1000 * value:,.0f}" for value in (seconds.p50, seconds.p95, seconds.p99))


def _memory(cost: Cost | None) -> str:
    if cost is None:
        return ""
    memory = cost.memory
    return f"{memory.peak / 1e6:.0f} ({(memory.after - memory.before) / 1e6:+.0f})"

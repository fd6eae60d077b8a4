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


def table(title: str, rows: Iterable[Row]) -> Table:
    """All rows."""
    result = Table(title=title, title_justify="left")
    for heading in ("mode", "load"):
        result.add_column(heading)
    for heading in (
        "mails/s", "accept ms\np50 / p95 / p99", "SUCCESS ms\np50 / p95 / p99", "dispatcher\nCPU ms", "sender\nCPU ms",
        "both\nCPU ms", "RSS MB peak (growth)\ndispatcher", "\nsender", "SMTP\nconn.", "round\ntrips",
    ):  # fmt: skip
        result.add_column(heading, justify="right")
    for row in rows:
        result.add_row(*cells(row))
    return result


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts; CPU and round trips are per mail."""
    dispatcher, sender = (1000 * cost.cpu / row.mails for cost in (row.dispatcher, row.sender))
    return (
        row.mode,
        row.load,
        f"{row.rate:.0f}",
        _milliseconds(row.to_accept),
        _milliseconds(row.to_success),
        f"{dispatcher:.2f}",
        f"{sender:.2f}",
        f"{dispatcher + sender:.2f}",
        _memory(row.dispatcher),
        _memory(row.sender),
        f"{row.connections}",
        f"{row.round_trips / row.mails:.2f}",
    )


def _milliseconds(seconds: Quantiles) -> str:
    return " / ".join(f"{1000 * value:,.0f}" for value in (seconds.p50, seconds.p95, seconds.p99))


def _memory(cost: Cost) -> str:
    return f"{cost.resident_peak / 1e6:.0f} ({(cost.resident_after - cost.resident_before) / 1e6:+.0f})"

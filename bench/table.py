"""The tables on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from bench.results import Results
from bench.sheets import Sheet, heading, sheets

#: The width where there is no terminal.
_PIPE_WIDTH = 220
_VERDICTS = {"met": "green", "missed": "red", "not measured": "dim"}


def new_console() -> Console:
    """The terminal, or plain text of a fixed width in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def show(console: Console, results: Results) -> None:
    """Print all results."""
    console.print(heading(results.setting), style="bold")
    for sheet in sheets(results):
        console.print("", _table(sheet))
    for failure in results.failures:
        console.print(f"\nNot measured: {failure}", style="red", markup=False)


def _table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, text in enumerate(sheet.headings):
        table.add_column(text, justify="left" if number < sheet.labels else "right", no_wrap=True)
    for row in sheet.rows:
        table.add_row(*row, style=_VERDICTS.get(row[-1], ""))
    return table

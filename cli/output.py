"""Command output: JSON lines for scripts, plain text for pipes, and colours and tables for a terminal.

Results go to standard output, everything else to standard error. NO_COLOR is honoured (https://no-color.org).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.times import rfc3339

_Command = TypeVar("_Command", bound=Callable[..., Any])

Cell = str | Text


def json_option(command: _Command) -> _Command:
    """Add the flag `--json`, as the argument `as_json`, to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")(command)


class Output:
    """The output of one command, in the selected format."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False)
        self.notes = Console(stderr=True, highlight=False)

    def result(self, record: Mapping[str, Any], text: Cell) -> None:
        """One result, as JSON or as text of one or more lines."""
        if self.as_json:
            self.record(record)
        else:
            self.line(text)

    def record(self, record: Mapping[str, Any]) -> None:
        """One result as a line of JSON."""
        click.echo(json_line(record))

    def line(self, text: Cell) -> None:
        """Print text without wrapping its lines."""
        if self.console.is_terminal and isinstance(text, Text):
            self.console.print(text, soft_wrap=True)
        else:
            click.echo(str(text))

    def note(self, text: str) -> None:
        """Print a message that is not a result."""
        click.echo(text, err=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """A table with headings; in a pipe, tab-separated cells without headings."""
        if not self.console.is_terminal:
            for row in rows:
                click.echo("\t".join(map(str, row)))
            return
        if not (rows := list(rows)):
            return
        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
        self.console.print(table)


def json_line(record: Mapping[str, Any]) -> str:
    """One line of JSON in ASCII; a time becomes RFC 3339 text in UTC, bytes become base64."""
    return json.dumps(record, default=_plain_value)


def _plain_value(value: Any) -> str:
    match value:
        case datetime():
            return rfc3339(value)
        case bytes():
            return base64.b64encode(value).decode()
    return str(value)


def printable(text: str) -> str:
    """Text from a document or a mail server, safe to display: control characters are escaped."""
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(text: str) -> str:
    """`printable`, with all white space as single spaces."""
    return printable(" ".join(text.split()))

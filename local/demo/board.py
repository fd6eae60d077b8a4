"""The demo's output: lines as things happen, and tables of the current state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.demo.scenario import Story
from local.mailstore import Mail
from local.mailview import parse_mail
from shared.delivery.model import State

#: The width where there is no terminal.
PIPE_WIDTH = 120

_COLOURS = {"SUCCESS": "green", "ERROR": "red", "PROCESSING": "blue", "PENDING": "yellow", "RETRY": "yellow"}

_PICTURE = """\
application ──▶ Firestore ──▶ dispatcher ──▶ Pub/Sub ──▶ sender ──▶ inbox
                    ▲                                       │
                    └────────── what became of it ──────────┘"""


@dataclass(frozen=True, slots=True)
class Row:
    """The status of one document: its state (empty until first read) and the whole `delivery` field."""

    state: str = ""
    delivery: Mapping[str, Any] = field(default_factory=dict)


def new_console() -> Console:
    """The terminal, or plain text of a fixed width in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


class Board:
    """The screen: on a terminal, a live table below the lines; in a pipe, only the lines."""

    def __init__(self, stories: Iterable[Story], console: Console) -> None:
        self._rows = {story.id: Row() for story in stories}
        self._console = console
        self._live = Live(get_renderable=self._documents, console=console, transient=True)

    def explain(self, backend: str) -> None:
        """Say what is about to happen."""
        picture = Text(_PICTURE, no_wrap=True)
        text = Text(
            "\nThe two services start as they do in production, over a Firestore and a Pub/Sub on this machine "
            f"(backend: {backend}). Then {len(self._rows)} mails go through: sent, refused, corrected, held up by a "
            "mail server that is down. Nothing leaves this machine."
        )
        box = Panel(Group(picture, text), title="Firepost", border_style="bright_red", expand=False, width=80)
        self._console.print(box)

    def begin(self) -> None:
        """Show the live table, if there is a terminal."""
        if self._console.is_terminal:
            self._live.start()

    def end(self) -> None:
        """Remove the live table. Safe to call without `begin`."""
        self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print one line about the current step."""
        self._console.print(Text(text, style=style))

    def moved(self, identifier: str, delivery: Mapping[str, Any]) -> None:
        """Show a story's current document; print a line only if its state has changed."""
        before, now = self._rows[identifier], Row(str(delivery.get("state", "new")), delivery)
        self._rows[identifier] = now
        if now.state != before.state:
            why = f"  {delivery.get('error')}" if now.state == State.ERROR else ""
            line = Text.assemble(f"    {identifier:<14}", _state(now.state), (why, "dim"))
            self._console.print(line, soft_wrap=True)

    def conclude(self, mails: Sequence[Mail], wrong: Sequence[str]) -> None:
        """The final tables, and the verdict."""
        self._console.print(Group("", self._documents(), "", _mails(mails), ""))
        for text in wrong:
            self._console.print(Text(f"✗ {text}", style="red"))
        if not wrong:
            self._console.print(Text("✓ Everything ended as expected.", style="bold green"))

    def _documents(self) -> Table:
        table = Table(title="Documents", title_justify="left", expand=True)
        table.add_column("Document", no_wrap=True)
        table.add_column("State", no_wrap=True)
        table.add_column("Attempts", justify="right")
        table.add_column("Recipients", no_wrap=True)
        table.add_column("What the mail server, or Firepost, said", ratio=1)
        for identifier, row in self._rows.items():
            attempts = row.delivery.get("attempts")
            table.add_row(
                identifier,
                _state(row.state),
                "" if attempts is None else str(attempts),
                _recipients(row.delivery),
                Text(_answer(row.delivery)),
            )
        return table


def _state(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, "dim"))


def _recipients(delivery: Mapping[str, Any]) -> str:
    """How many recipients had which result: "1 accepted, 1 rejected"."""
    info = delivery.get("info") or {}
    counts = {fate: len(info.get(fate) or ()) for fate in ("accepted", "rejected", "pending")}
    return ", ".join(f"{count} {fate}" for fate, count in counts.items() if count)


def _answer(delivery: Mapping[str, Any]) -> str:
    info = delivery.get("info") or {}
    return str(delivery.get("error") or info.get("response") or "")


def _mails(mails: Sequence[Mail]) -> Table:
    table = Table(title="Mails received", title_justify="left", expand=True)
    table.add_column("#", justify="right")
    table.add_column("Subject", ratio=1)
    table.add_column("Recipients")
    table.add_column("Attached")
    for mail in mails:
        view = parse_mail(mail.data)
        names = ", ".join(part.name for part in view.attachments)
        table.add_row(str(mail.number), Text(view.header("subject")), Text(", ".join(mail.recipients)), Text(names))
    return table

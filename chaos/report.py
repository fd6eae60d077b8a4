"""Display: a progress bar (occasional lines in a pipe), and one table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from chaos.run import Outcome, Progress

#: The width where there is no terminal.
PIPE_WIDTH = 120
_LINE_EVERY = 10.0
#: The maximum number of failures listed by name.
_NAMED = 5


class Show(Protocol):
    """Displays a run's progress."""

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        ...


def new_console() -> Console:
    """The terminal, or plain text of a fixed width in a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


@contextmanager
def progress_on(console: Console, mails: int) -> Iterator[Show]:
    """A display of the run's progress during the block."""
    if not console.is_terminal:
        yield _Lines(console, mails)
        return
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        written, reached, ended = (bars.add_task(name, total=mails) for name in ("written", "at SMTP", "ended"))
        killed = bars.add_task("interruptions", total=None)

        def show(progress: Progress) -> None:
            bars.update(written, completed=progress.written)
            bars.update(reached, completed=progress.reached)
            bars.update(ended, completed=progress.ended)
            bars.update(killed, completed=progress.interruptions)

        yield show


class _Lines:
    def __init__(self, console: Console, mails: int) -> None:
        self._console = console
        self._mails = mails
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_EVERY
        self._console.print(
            f"written {progress.written} of {self._mails}, at SMTP {progress.reached}, "
            f"ended {progress.ended}, interruptions {progress.interruptions}"
        )


def conclude(console: Console, outcome: Outcome) -> None:
    """The books, the faults that occurred, and the verdict."""
    chosen = outcome.chosen
    title = (
        f"{chosen.mails:,} mails, seed {chosen.seed}, LEASE_EXPIRY_POLICY={chosen.policy}, "
        f"MAX_ATTEMPTS={chosen.max_attempts}"
    )
    console.print(_books(title, outcome), "", _faults(outcome), "")
    rate = chosen.mails / outcome.seconds
    console.print(f"{outcome.seconds:.0f} s, {rate:.0f} mails/s despite all faults.")
    console.print(_ends(outcome))
    audited = outcome.audited
    console.print(f"{audited.entries:,} log entries and {audited.documents:,} documents against the state machine.")
    for finding in audited.findings[:_NAMED]:
        console.print(Text(f"✗ {finding.where} {finding.document}: {finding.why}", style="red"))
    if outcome.good:
        console.print(Text("✓ Nothing lost, nothing sent twice without cause, nothing stuck.", style="bold green"))
    else:
        console.print(Text(f"✗ {_fault(outcome)}", style="bold red"))


def _fault(outcome: Outcome) -> str:
    if not outcome.verdict.good:
        return "The books do not agree."
    if outcome.audited.findings:
        return "The state machine does not allow what happened."
    return "A mail ended too late."


def _ends(outcome: Outcome) -> str:
    """How long the mails took to end after the last fault."""
    ends = outcome.ends or [0.0]
    shares = ", ".join(f"{share} % within {ends[ceil(len(ends) * share / 100) - 1]:.1f} s" for share in (50, 95, 99))
    return f"After the last fault: {shares}, all within {ends[-1]:.1f} s; promised: {outcome.latest:.0f} s."


def _books(title: str, outcome: Outcome) -> Table:
    verdict = outcome.verdict
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("The three books")
    table.add_column("Count", justify="right")
    table.add_column("Which", ratio=1)
    for state, count in sorted(outcome.states.items()):
        table.add_row(f"documents: {state}", f"{count:,}", "")
    table.add_section()
    for label, names in (
        ("lost: not received, and not reported", verdict.lost),
        ("SUCCESS not received", verdict.not_received),
        ("ERROR, though surely received", verdict.denied),
        ("given up with attempts left", verdict.given_up_early),
        ("stuck: not in a final state", verdict.stuck),
        ("duplicates without cause", [each.recipient for each in verdict.without_cause]),
    ):
        table.add_row(label, _must_be_none(len(names)), _some(names))
    table.add_row("Pub/Sub or Eventarc not empty", _must_be_none(verdict.undelivered), "")
    table.add_section()
    causes = Counter(each.cause for each in verdict.duplicates if each.cause)
    for cause, count in causes.most_common():
        table.add_row("duplicates with cause", f"{count:,}", cause)
    return table


def _faults(outcome: Outcome) -> Table:
    table = Table(title="Injected faults", title_justify="left")
    table.add_column("Fault")
    table.add_column("Times", justify="right")
    for fault, count in sorted(outcome.faults.items()):
        table.add_row(fault, f"{count:,}")
    return table


def _must_be_none(count: int) -> Text:
    return Text(f"{count:,}", style="red" if count else "green")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

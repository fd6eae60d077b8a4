"""Setting the state of many documents, one after the other or several at once, for `retry`, `adopt` and `cancel`.

The dispatcher publishes a document that is set to RETRY, whatever it was before, and if the event gets lost, the
reconciler does (`shared.delivery.machine`). Each write is conditional and stands alone. So if the process dies, what
was set stays set, and running the same command again finds the others.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import click
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from cli.exits import Failed, Unreachable
from cli.mail import Mail
from cli.mailbox import Mailbox
from cli.output import Output, one_line
from shared.delivery.model import State

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: More documents than this are only set after confirmation.
ASK_ABOVE = 20
#: Why a document is not known to be set: Firestore has failed. It may be set all the same.
UNANSWERED = "unanswered"
#: Documents in one request: as many as may be set in a quarter of a second, up to this number.
_BATCH, _BATCHES_PER_SECOND = 100, 4


dry_run_option = click.option("--dry-run", is_flag=True, help="Only show which mails would be set.")


def rate_option(command: _Command) -> _Command:
    """Add `--rate`, documents per second, to a command."""
    return click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        default=50.0,
        show_default=True,
        help="The maximum number per second; fractions are allowed.",
    )(command)


def yes_option(command: _Command) -> _Command:
    """Add the flag `--yes` to a command that asks for confirmation."""
    text = f"Don't ask for confirmation, even if there may be more than {ASK_ABOVE}."
    return click.option("--yes", is_flag=True, help=text)(command)


def ask(question: str, announcement: str, yes: bool) -> None:
    """Raises `click.Abort` if the operator declines, `click.UsageError` if there is no terminal to ask on.

    `announcement` says then what would have been done.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{announcement}: confirm with --yes, or check first with --dry-run.")
    click.confirm(question, abort=True, err=True)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be set; `refusal` is the reason against it, if any. Without one, `mail` is known.

    `remark` is what the operator must know about it once it is set.
    """

    path: str
    mail: Mail | None
    refusal: str | None = None
    remark: str | None = None


@dataclass(slots=True)
class Tally:
    """How many documents were set to a state (or would be), and how many were skipped, by reason."""

    state: State
    set: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def count(self, reason: str | None) -> None:
        """Count a document; `reason` is why it was skipped, None if it was set."""
        if reason is None:
            self.set += 1
        else:
            self.skipped[reason] += 1

    def sentence(self, dry_run: bool) -> str:
        """The counts as a sentence."""
        text = f"{self.set:,} would be set to {self.state}" if dry_run else f"{self.set:,} set to {self.state}"
        if self.skipped:
            text += "; skipped: " + ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.most_common())
        if self.skipped["outcome-unknown"]:
            text += " (these may have been sent; --error-code unknown --error-code lease-expired includes them)"
        return f"{text}."


class Pace:
    """A rate limit; `clock` and `sleep` are in seconds."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self.batch = max(1, min(_BATCH, int(per_second / _BATCHES_PER_SECOND)))

    def wait(self, actions: int = 1) -> None:
        """Return when the next actions may happen; unused time is not saved up."""
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._interval * actions


def set_state(
    candidates: Iterable[Candidate], state: State, mailbox: Mailbox, pace: Pace
) -> Iterator[tuple[Candidate, str | None]]:
    """Set the candidates; yields each with the reason why it was not set, or None. One batch is in memory.

    Raises `Unreachable` if Firestore fails, after the batch in which it has failed.
    """
    remaining = iter(candidates)
    while batch := list(islice(remaining, pace.batch)):
        mails = [each.mail for each in batch if each.refusal is None and each.mail is not None]
        if mails:
            pace.wait(len(mails))
        outcomes = mailbox.set_state(mails, state) if mails else []
        reasons = iter([UNANSWERED if isinstance(each, Unreachable) else each for each in outcomes])
        for candidate in batch:
            yield candidate, candidate.refusal or next(reasons)
        if failure := next((each for each in outcomes if isinstance(each, Unreachable)), None):
            raise failure


def set_all(
    candidates: Iterable[Candidate], state: State, mailbox: Mailbox | None, pace: Pace, output: Output, total: int
) -> None:
    """Set the candidates, and report each; without a mailbox (dry run), only show them.

    Raises `click.exceptions.Exit` if there was nothing to set.
    """
    dry_run, tally = mailbox is None, Tally(state)
    outcomes = (
        ((each, each.refusal) for each in candidates)
        if mailbox is None
        else set_state(candidates, state, mailbox, pace)
    )
    try:
        with progress(output, state, total, shown=not dry_run) as advance:
            for candidate, reason in outcomes:
                tally.count(reason)
                report(candidate, reason, output, dry_run)
                if candidate.refusal is None:
                    advance(1)
    finally:  # also after an interruption or a Firestore failure
        output.note(tally.sentence(dry_run))
    if not tally.set:
        raise click.exceptions.Exit(Failed.exit_code)


def report(candidate: Candidate, reason: str | None, output: Output, dry_run: bool) -> None:
    """Print a line about one document; on a terminal, the progress bar and the summary cover those that were set."""
    if reason:
        record, text = {"result": "skipped", "reason": reason}, f"skipped: {reason}"
    else:
        text = "would be set" if dry_run else "set"
        record = {"result": "would-set" if dry_run else "set"}
    if remark := None if reason else candidate.remark:
        record, text = record | {"remark": remark}, f"{text}: {remark}"
    if output.as_json or reason or remark or dry_run or not output.console.is_terminal:
        output.result({"document": candidate.path, **record}, f"{one_line(candidate.path)}  {text}")


@contextmanager
def progress(output: Output, name: str, total: int | None, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal; call the yielded function with the number just done.

    `total` is None if it is unknown.
    """
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=output.notes,
        transient=True,
        disable=not (shown and output.notes.is_terminal),
        redirect_stdout=output.console.is_terminal,  # not if it is redirected to a file
    ) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.advance(task, done)

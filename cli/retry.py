"""`retry`: request another attempt at failed mails.

If the process dies, the documents that were set stay set, and running the same command again continues with the others:
documents already set are no longer in ERROR.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import click
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from cli.clients import Target, open_mailbox
from cli.exits import EXIT_CODES, Failed
from cli.listing import error_code_option, since_option
from cli.mail import Mail
from cli.mailbox import Mailbox
from cli.output import Output, json_option, one_line
from cli.selection import Selection, Window, refusal
from cli.status import own_paths
from shared.delivery.model import State

#: More documents than this are only set after confirmation.
ASK_ABOVE = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be set to a state; `refusal` is the reason against it, if any.

    `remark` is what the operator must know about it once it is set.
    """

    path: str
    mail: Mail | None
    refusal: str | None
    remark: str | None = None


@dataclass(slots=True)
class Tally:
    """How many documents were set to a state (or would be), and how many were skipped, by reason."""

    set: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    state: State = State.RETRY

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

    def wait(self) -> None:
        """Return when the next action may happen; unused time is not saved up."""
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._interval


dry_run_option = click.option("--dry-run", is_flag=True, help="Only show which mails would be set.")
rate_option = click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    help="The maximum number per second; fractions are allowed.",
)
yes_option = click.option(
    "--yes", is_flag=True, help=f"Don't ask for confirmation, even if there are more than {ASK_ABOVE}."
)


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--state", type=click.Choice([State.ERROR.value]), help="All mails that ended in ERROR.")
@error_code_option
@since_option
@dry_run_option
@rate_option
@yes_option
@json_option
@click.pass_obj
def retry(
    target: Target,
    paths: tuple[str, ...],
    state: str | None,
    error_codes: tuple[str, ...],
    since: datetime | None,
    dry_run: bool,
    rate: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Set mails that ended in ERROR to RETRY: those at PATH (a document's path, or only its id), or all.

    A document that changes at the same time is skipped. Mails that may have been sent (errors 'unknown' and
    'lease-expired') are only retried by PATH, or if --error-code names them.

    \b
    Examples:
      python -m cli retry mail/order-17
      python -m cli retry --state ERROR --error-code auth --since 2h --dry-run
      python -m cli retry --state ERROR --error-code throttled --rate 5 --yes

    If interrupted, run it again to continue. The exit code is 1 if there was nothing to set.
    """
    if bool(paths) == bool(state):
        raise click.UsageError("Specify either PATH..., or --state ERROR.")
    if paths and (error_codes or since):
        raise click.UsageError("--error-code and --since require --state ERROR, and can't be combined with PATH.")
    documents = own_paths(paths, target)
    selection = Selection(state, error_codes, Window(since))
    with open_mailbox(target) as mailbox:

        def candidates() -> Iterator[Candidate]:
            return _named(mailbox, documents) if paths else _selected(mailbox, selection)

        # The documents are read again when they are set, so only their number is kept meanwhile.
        total = len(documents) if dry_run or paths else sum(each.refusal is None for each in candidates())
        if not dry_run and not yes:
            ask(total, State.RETRY)
        set_all(candidates(), State.RETRY, None if dry_run else mailbox, Pace(rate), Output(as_json), total)


def _named(mailbox: Mailbox, paths: Iterable[str]) -> Iterator[Candidate]:
    for path in paths:
        mail = mailbox.get(path)
        yield Candidate(path, mail, refusal(mail, asked_for=True))


def _selected(mailbox: Mailbox, selection: Selection) -> Iterator[Candidate]:
    for mail in filter(selection.includes, mailbox.find(selection.queries())):
        yield Candidate(mail.path, mail, refusal(mail, selection.names_error_of(mail)))


def ask(total: int, state: State) -> None:
    """Raises `click.Abort` if the operator declines, `click.UsageError` if there is no terminal to ask on."""
    if total <= ASK_ABOVE:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{total:,} mails would be set to {state}: confirm with --yes, or check first with --dry-run."
        )
    click.confirm(f"Set {total:,} mails to {state}?", abort=True, err=True)


def set_all(
    candidates: Iterable[Candidate], state: State, mailbox: Mailbox | None, pace: Pace, output: Output, total: int
) -> None:
    """Set the candidates one after the other; without a mailbox (dry run), only show them.

    Raises `click.exceptions.Exit` if there was nothing to set.
    """
    tally = Tally(state=state)
    try:
        with _progress(output, state, total, shown=mailbox is not None) as advance:
            for candidate in candidates:
                reason = candidate.refusal or _set(mailbox, candidate.mail, state, pace)
                tally.count(reason)
                _report(candidate, reason, output, dry_run=mailbox is None)
                if candidate.refusal is None:
                    advance()
    finally:  # also after an interruption or a Firestore failure
        output.note(tally.sentence(dry_run=mailbox is None))
    if not tally.set:
        raise click.exceptions.Exit(Failed.exit_code)


def _set(mailbox: Mailbox | None, mail: Mail | None, state: State, pace: Pace) -> str | None:
    if mailbox is None or mail is None:
        return None
    pace.wait()
    return None if mailbox.set_state(mail, state) else "changed"


def _report(candidate: Candidate, reason: str | None, output: Output, dry_run: bool) -> None:
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
def _progress(output: Output, name: str, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, if that is a terminal; call the yielded function once per document."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=output.notes,
        transient=True,
        disable=not (shown and output.notes.is_terminal),
        redirect_stdout=output.console.is_terminal,  # not if it is redirected to a file
    ) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)

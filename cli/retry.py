"""`retry`: request another attempt at failed mails, or the first one at mails that were never queued.

If the process dies, running the same command again continues with the others: documents that were set are no longer in
the selected state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.listing import error_code_option, since_option
from cli.mailbox import Mailbox
from cli.output import Output, json_option
from cli.selection import NEW, Selection, Window, refusal
from cli.set_state import ASK_ABOVE, Candidate, Pace, ask, dry_run_option, rate_option, set_all, yes_option
from cli.status import own_paths
from cli.target import Target
from shared.delivery.model import State


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--state",
    type=click.Choice([State.ERROR.value, NEW]),
    help="All mails that ended in ERROR; or NEW, all without a state (reads every document).",
)
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
      python -m cli retry --state NEW --since 1d

    --state NEW is for small collections; 'adopt' does the same for large ones, and can be continued.

    If interrupted, run it again to continue. The exit code is 1 if there was nothing to set.
    """
    if bool(paths) == bool(state):
        raise click.UsageError("Specify either PATH..., or --state ERROR.")
    if paths and (error_codes or since):
        raise click.UsageError("--error-code and --since require --state ERROR, and can't be combined with PATH.")
    if state == NEW and error_codes:
        raise click.UsageError("--error-code requires --state ERROR: a mail without a state has no error.")
    documents = own_paths(paths, target)
    selection = Selection(state, error_codes, Window(since))
    with open_mailbox(target) as mailbox:

        def candidates() -> Iterator[Candidate]:
            return _named(mailbox, documents) if paths else _selected(mailbox, selection)

        # The documents are read again when they are set, so only their number is kept meanwhile.
        total = len(documents) if dry_run or paths else sum(each.refusal is None for each in candidates())
        if not dry_run and total > ASK_ABOVE:
            ask(f"Set {total:,} mails to RETRY?", f"{total:,} mails would be set to RETRY", yes)
        set_all(candidates(), State.RETRY, None if dry_run else mailbox, Pace(rate), Output(as_json), total)


def _named(mailbox: Mailbox, paths: Iterable[str]) -> Iterator[Candidate]:
    for path in paths:
        mail = mailbox.get(path)
        yield Candidate(path, mail, refusal(mail, asked_for=True))


def _selected(mailbox: Mailbox, selection: Selection) -> Iterator[Candidate]:
    for mail in filter(selection.includes, mailbox.find(selection.queries(), selection.fields)):
        yield Candidate(mail.path, mail, refusal(mail, selection.names_error_of(mail), selection.state))

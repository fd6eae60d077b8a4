"""`cancel`: call mails off that have not been sent yet.

If the process dies, the documents that were set stay set, and running the same command again continues with the others:
documents already set are no longer queued.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.listing import since_option
from cli.mail import Mail
from cli.output import Output, json_option
from cli.selection import Selection, Window, cancelling_refusal
from cli.set_state import ASK_ABOVE, Candidate, Pace, ask, dry_run_option, rate_option, set_all, yes_option
from cli.status import own_paths
from cli.target import Target
from shared.delivery.model import QUEUED, State

MAY_GO_OUT = "an attempt is running, so it may still go out; its result will be written"


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--state", type=click.Choice([state.value for state in QUEUED]), help="All mails in this state.")
@since_option
@dry_run_option
@rate_option
@yes_option
@json_option
@click.pass_obj
def cancel(
    target: Target,
    paths: tuple[str, ...],
    state: str | None,
    since: datetime | None,
    dry_run: bool,
    rate: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Set queued and scheduled mails to CANCELLED: those at PATH (a document's path, or only its id), or all.

    A cancelled mail is not sent until somebody sets it to RETRY. Mails that have ended are skipped, and so is a
    document that changes at the same time. A mail at PATH that is just being sent (PROCESSING) is set, too, so that no
    further attempt follows; but this one goes on, and its result will be written.

    \b
    Examples:
      python -m cli cancel mail/order-17
      python -m cli cancel --state PENDING --since 2h --dry-run
      python -m cli cancel --state RETRY --yes

    If interrupted, run it again to continue. The exit code is 1 if there was nothing to set.
    """
    if bool(paths) == bool(state):
        raise click.UsageError("Specify either PATH..., or --state.")
    if paths and since:
        raise click.UsageError("--since requires --state, and can't be combined with PATH.")
    documents = own_paths(paths, target)
    selection = Selection(state, window=Window(since))
    with open_mailbox(target) as mailbox:

        def candidates() -> Iterator[Candidate]:
            if paths:
                return (_candidate(path, mailbox.get(path)) for path in documents)
            found = filter(selection.includes, mailbox.find(selection.queries()))
            return (_candidate(mail.path, mail) for mail in found)

        total = len(documents) if dry_run or paths else sum(1 for _ in candidates())
        if not dry_run and total > ASK_ABOVE:
            ask(f"Set {total:,} mails to CANCELLED?", f"{total:,} mails would be set to CANCELLED", yes)
        set_all(candidates(), State.CANCELLED, None if dry_run else mailbox, Pace(rate), Output(as_json), total)


def _candidate(path: str, mail: Mail | None) -> Candidate:
    is_running = mail is not None and mail.state == State.PROCESSING
    return Candidate(path, mail, cancelling_refusal(mail), MAY_GO_OUT if is_running else None)

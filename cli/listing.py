"""`list`: mails by their state, error and time."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.clients import Target, open_mailbox
from cli.exits import EXIT_CODES
from cli.output import Output, json_option
from cli.selection import Selection, newest
from cli.times import past
from cli.view import MAIL_COLUMNS, mail_record, mail_row
from shared.delivery.model import State
from shared.errors import ErrorCode


def _past(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    try:
        return past(text, datetime.now(UTC)) if text else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


error_code_option = click.option(
    "--error-code",
    "error_codes",
    multiple=True,
    type=click.Choice([code.value for code in ErrorCode]),
    help="Only mails with this error code; may be repeated.",
)
since_option = click.option(
    "--since",
    metavar="TIME",
    callback=_past,
    help="Only mails that were written, queued or concluded since: 90s, 2h, 3d ... ago, or an ISO time (UTC).",
)


@click.command("list", epilog=EXIT_CODES)
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only mails in this state.")
@error_code_option
@since_option
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The maximum number to show.")
@json_option
@click.pass_obj
def list_mails(
    target: Target,
    state: str | None,
    error_codes: tuple[str, ...],
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List mails, the most recently changed first.

    The times are not indexed (that would limit how fast documents can be written), so every document in the state is
    read; without --state and --error-code, every document.

    \b
    Examples:
      python -m cli list --state ERROR --since 2h
      python -m cli list --error-code throttled --error-code temporary --limit 500
      python -m cli list --state PROCESSING --json | jq -r .document

    In a pipe, columns are separated by tabs and there are no headings.
    """
    with open_mailbox(target) as mailbox:
        mails, total = newest(mailbox.find(Selection(state, error_codes, since)), limit)
    output = Output(as_json)
    if as_json:
        for mail in mails:
            output.record(mail_record(mail))
    else:
        now = datetime.now(UTC)
        output.table(MAIL_COLUMNS, [mail_row(mail, now) for mail in mails])
    if total > limit:
        output.note(f"{limit:,} of {total:,} mails are shown; --limit shows more.")
    elif not total:
        output.note("No such mails.")

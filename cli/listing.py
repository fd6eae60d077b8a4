"""`list`: mails by their state, error and time. Also the options and the output that `find` shares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.mail import Mail
from cli.output import Output, json_option
from cli.selection import NEW, STATES, Selection, Window, newest
from cli.target import Target
from cli.times import past
from cli.view import MAIL_COLUMNS, mail_record, mail_row
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
until_option = click.option(
    "--until", metavar="TIME", callback=_past, help="Only mails whose last change was not later than this."
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The maximum number to show."
)


@click.command("list", epilog=EXIT_CODES)
@click.option("--state", type=click.Choice(STATES), help=f"Only mails in this state; {NEW}: without one.")
@error_code_option
@click.option("--partial", is_flag=True, help="Only mails in SUCCESS that some recipients did not get.")
@since_option
@until_option
@limit_option
@json_option
@click.pass_obj
def list_mails(
    target: Target,
    state: str | None,
    error_codes: tuple[str, ...],
    partial: bool,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List mails, the most recently changed first.

    The times are not indexed (that would limit how fast documents can be written), so every document in the state is
    read; with --state NEW, and without --state, --error-code and --partial, every document. --partial reads those with
    a rejected or pending recipient.

    \b
    Examples:
      python -m cli list --state ERROR --since 2h
      python -m cli list --error-code throttled --error-code temporary --limit 500
      python -m cli list --state PROCESSING --json | jq -r .document
      python -m cli list --partial --since 1d --json | jq .delivery.info.rejected

    In a pipe, columns are separated by tabs and there are no headings.
    """
    if partial and (state or error_codes):
        raise click.UsageError("--partial is about mails in SUCCESS, so it excludes --state and --error-code.")
    if state == NEW and error_codes:
        raise click.UsageError("--error-code excludes --state NEW: a mail without a state has no error.")
    selection = Selection(state, error_codes, window(since, until), partial)
    with open_mailbox(target) as mailbox:
        mails, total = newest(filter(selection.includes, mailbox.find(selection.queries(), selection.fields)), limit)
    output = Output(as_json)
    show_mails(mails, output)
    if total > limit:
        output.note(f"{limit:,} of {total:,} mails are shown; --limit shows more.")
    elif not total:
        output.note("No such mails.")


def window(since: datetime | None, until: datetime | None) -> Window:
    """The time between the options. Raises `click.UsageError` if it ends before it begins."""
    if since and until and until < since:
        raise click.UsageError("--until is before --since.")
    return Window(since, until)


def show_mails(mails: Sequence[Mail], output: Output) -> None:
    """The mails as records, or as rows of a table."""
    if output.as_json:
        for mail in mails:
            output.record(mail_record(mail))
    else:
        now = datetime.now(UTC)
        output.table(MAIL_COLUMNS, [mail_row(mail, now) for mail in mails])

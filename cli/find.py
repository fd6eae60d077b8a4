"""`find`: mails by recipient, Message-ID, subject or provider's id."""

from __future__ import annotations

from datetime import datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.listing import limit_option, show_mails, since_option, until_option, window
from cli.mail import Mail
from cli.mailbox import Mailbox, Reads
from cli.output import Output, json_option
from cli.search import FIELDS, Search, bare_address
from cli.selection import Query, newest
from cli.target import Target

#: By default, no more documents are read.
READS = 10_000


def _text(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    if not text.strip():
        raise click.BadParameter("it is empty.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("it is not text in UTF-8.") from error
    return text


def _address(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    address = _text(context, parameter, text)
    try:
        if address is not None:
            bare_address(address)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    return address and address.strip()


@click.command(epilog=EXIT_CODES)
@click.option("--to", "recipient", metavar="ADDRESS", callback=_address, help="A recipient: in to, cc or bcc.")
@click.option("--message-id", metavar="ID", callback=_text, help="The Message-ID, with or without < and >.")
@click.option("--subject", metavar="TEXT", callback=_text, help="The beginning of the subject.")
@click.option(
    "--provider-id",
    metavar="ID",
    callback=_text,
    help="The mail server's own id of the mail, such as Postfix's queue id, Amazon SES's id or SendGrid's.",
)
@since_option
@until_option
@click.option("--scan", is_flag=True, help="Read all documents, and compare each: also finds other spellings.")
@click.option(
    "--reads",
    type=click.IntRange(min=1),
    default=READS,
    show_default=True,
    help="The maximum number of documents to read; each is billed as one read.",
)
@limit_option
@json_option
@click.pass_obj
def find(
    target: Target,
    recipient: str | None,
    message_id: str | None,
    subject: str | None,
    provider_id: str | None,
    since: datetime | None,
    until: datetime | None,
    scan: bool,
    reads: int,
    limit: int,
    as_json: bool,
) -> None:
    """Find mails by what is known of them, the most recently changed first. All that is given must fit.

    Indexes find the mails, and only these are read. They know what is written exactly so: an address as given or in
    lower case, but if the mail was not sent, not within 'Ada <ada@example.com>'; a subject in the same case, and a
    template's only with STORE_RENDERED. --scan reads all documents instead, up to --reads, and ignores case.

    Only SendGrid's ids have an index. Other servers name theirs somewhere in their answer, so --provider-id alone
    scans. With --to, --subject or --message-id, it does not.

    \b
    Examples:
      python -m cli find --to ada@example.com --since 7d
      python -m cli find --subject "Your order 17" --json | jq -r .document
      python -m cli find --message-id "<5f0c@example.com>"
      python -m cli find --provider-id 4YqTvK1LzSz9s --reads 200000
      python -m cli find --to ada@example.com --scan
    """
    search = Search(recipient, message_id, subject, provider_id, window(since, until))
    if not (recipient or message_id or subject or provider_id):
        raise click.UsageError("Specify --to, --message-id, --subject or --provider-id.")
    budget = Reads(reads)
    with open_mailbox(target) as mailbox:
        mails, total = _found(mailbox, search, budget, scan, limit)
    output = Output(as_json)
    show_mails(mails, output)
    if total > limit:
        output.note(f"{limit:,} of {total:,} mails are shown; --limit shows more.")
    elif not total:
        output.note("No such mails." if scan or search.needs_scan else "No such mails; --scan finds other spellings.")
    if not budget.left:
        output.note(
            f"Stopped after reading {budget.done:,} documents, which are in no order of time: there may be more mails, "
            "also newer ones. --reads reads more."
        )


def _found(mailbox: Mailbox, search: Search, reads: Reads, scan: bool, limit: int) -> tuple[list[Mail], int]:
    """The `limit` most recently changed mails, and their total number."""
    found: tuple[list[Mail], int] = ([], 0)
    stages = [] if scan else [search.queries()]
    if scan or search.needs_scan:
        stages.append((Query(),))
    for queries in stages:
        found = newest(filter(search.includes, mailbox.find(queries, FIELDS, reads)), limit)
        if found[1]:
            break
    return found

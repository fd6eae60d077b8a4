"""`audit`: what has really happened, held against the state machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TextIO

import click

from cli.auditor import Auditor, Finding
from cli.clients import open_mailbox
from cli.exits import EXIT_CODES, Failed
from cli.log_entries import JSON_FILE, TooLong
from cli.output import Output, json_option, one_line
from cli.selection import Query
from cli.target import Target
from shared.delivery.policy import LeaseExpiryPolicy, Policy


@click.command(epilog=EXIT_CODES)
@click.argument("files", nargs=-1, type=JSON_FILE, metavar="[FILE...]")
@click.option("--scan", is_flag=True, help="Check all documents of the collection, too; each one costs a read.")
@click.option(
    "--policy",
    envvar="LEASE_EXPIRY_POLICY",
    show_envvar=True,
    type=click.Choice([each.value for each in LeaseExpiryPolicy]),
    default=LeaseExpiryPolicy.ERROR.value,
    show_default=True,
    help="The services' LEASE_EXPIRY_POLICY.",
)
@click.option(
    "--attempts",
    envvar="MAX_ATTEMPTS",
    show_envvar=True,
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The services' MAX_ATTEMPTS.",
)
@click.option(
    "--patience",
    envvar="OUTAGE_PATIENCE",
    show_envvar=True,
    type=click.IntRange(min=0),
    default=3600,
    show_default=True,
    help="The services' OUTAGE_PATIENCE, in seconds.",
)
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="The maximum number to show.")
@json_option
@click.pass_obj
def audit(
    target: Target,
    files: tuple[TextIO, ...],
    scan: bool,
    policy: str,
    attempts: int,
    patience: int,
    limit: int,
    as_json: bool,
) -> None:
    """Check what has really happened against the tables of the state machine.

    FILE has log entries: the services' own lines, or what gcloud logging read --format=json prints. It may also have
    documents, as list --json prints them, whose histories are checked. - reads standard input.

    Each finding is a line: where it is, the document, and what is allowed instead. The policy must be the one under
    which the entries were written.

    \b
    Examples:
      python -m cli audit dispatcher.log sender.log
      gcloud logging read 'jsonPayload.event:*' --freshness=1d --format=json | python -m cli audit -
      python -m cli audit --scan --attempts 3

    The exit code is 1 if anything is found, or if there was nothing to check.
    """
    if not files and not scan:
        raise click.UsageError("Specify FILE..., or --scan.")
    rules = Policy(
        timedelta(minutes=1), attempts, LeaseExpiryPolicy(policy), outage_patience=timedelta(seconds=patience)
    )
    output, auditor = Output(as_json), Auditor(rules)
    found = list(islice(_findings(auditor, files, target if scan else None), limit))
    for each in found:
        if as_json:
            output.record({"where": each.where, "document": each.document, "finding": each.why})
        else:
            output.line("\t".join(map(one_line, (each.where, each.document, each.why))))
    checked = f"{auditor.entries:,} log entries and {auditor.documents:,} documents"
    if found:
        more = "; there may be more" if len(found) == limit else ""
        raise Failed(f"{len(found):,} findings in {checked}{more}.")
    if not (auditor.entries or auditor.documents):
        raise Failed("Nothing was checked: there are neither entries about Firepost's work nor documents.")
    output.note(f"{checked}: all as the state machine allows.")


def _findings(auditor: Auditor, files: Iterable[TextIO], target: Target | None) -> Iterator[Finding]:
    for file in files:
        try:
            yield from auditor.file(file, file.name)
        except (OSError, TooLong) as error:
            raise click.UsageError(f"{file.name} can't be read: {error}.") from error
    if target is not None:
        with open_mailbox(target) as mailbox:
            for mail in mailbox.find([Query()]):
                if finding := auditor.document(mail.path, mail.delivery, target.collection):
                    yield finding
    yield from auditor.stories()

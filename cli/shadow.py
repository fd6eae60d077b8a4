"""`shadow report`: what shadow mode has found out about Firepost beside another system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import click

from cli.exits import EXIT_CODES, Failed
from cli.log_entries import JSON_FILE, TooLong, entries
from cli.output import Output, json_option, one_line
from cli.shadow_looks import MEANINGS, Group, Result, grouped, last_looks

COLUMNS = ("RESULT", "FIREPOST", "MAILS", "MEANING", "EXAMPLES")


@click.group(epilog=EXIT_CODES)
def shadow() -> None:
    """Evaluate shadow mode (SHADOW=true), in which Firepost looks on while another system sends."""


@shadow.command(epilog=EXIT_CODES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=JSON_FILE)
@json_option
def report(files: Sequence[TextIO], as_json: bool) -> None:
    """Say for which mails Firepost would do something else than the old system.

    FILE has the services' log lines, or the output of `gcloud logging read --format=json`; - reads standard input.
    Nothing else is read, and no content is shown: only what Firepost would do (`sent`, or an error code), and paths of
    documents. Mails that both systems treat alike are counted, too.

    \b
    Examples:
      gcloud logging read 'jsonPayload.event="shadow"' --freshness=14d --format=json | python -m cli shadow report -
      python -m cli shadow report --json sender.log

    The exit code is 0 if nothing differs. It is 1 if something does, or if there is nothing to compare.
    """
    output = Output(as_json)
    try:
        looks = last_looks(entry for file in files for _, entry in entries(file))
    except TooLong as error:
        raise click.UsageError(f"{error}.") from error
    if not looks:
        raise Failed("There are no entries of shadow mode: does the sender run with SHADOW=true?")
    groups = grouped(looks)
    if as_json:
        for group in groups:
            output.record(_record(group))
    else:
        output.table(COLUMNS, map(_row, groups))
    counts = {result: sum(group.documents for group in groups if group.result is result) for result in Result}
    output.note(
        f"{len(looks):,} mails: {counts[Result.AGREES]:,} agree, {counts[Result.DIFFERS]:,} differ, "
        f"{counts[Result.OPEN]:,} can't be compared (yet)."
    )
    if counts[Result.DIFFERS]:
        raise click.exceptions.Exit(Failed.exit_code)


def _record(group: Group) -> dict[str, object]:
    return {
        "result": group.result,
        "kind": group.kind,
        "firepost": group.reason,
        "documents": group.documents,
        "examples": group.examples,
    }


def _row(group: Group) -> Sequence[str]:
    examples = one_line(", ".join(group.examples))
    return group.result, group.reason, str(group.documents), MEANINGS[group.kind][1], examples

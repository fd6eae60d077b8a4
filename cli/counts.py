"""`counts`: how many mails there are in each state, and with each error code."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.mailbox import Mailbox
from cli.output import Output, json_option
from cli.selection import Query, Selection
from cli.target import Target
from cli.view import COUNT_COLUMNS, Count, count_record, count_row
from shared.delivery.model import State
from shared.errors import ErrorCode


@click.command(epilog=EXIT_CODES)
@json_option
@click.pass_obj
def counts(target: Target, as_json: bool) -> None:
    """Count the mails in each state, and with each error code.

    Firestore counts, and no document is read: each number costs one read per 1,000 mails that it counts, and at least
    one. So the command costs about 2 reads per 1,000 mails and 20 more.

    A mail that waits for its next attempt keeps the error code of the last one. '(none)' are mails without a state, or
    with one that Firepost does not know. The numbers are counted one after the other: mails move meanwhile.

    \b
    Examples:
      python -m cli counts
      python -m cli counts --json | jq 'select(.name == "ERROR").mails'
    """
    with open_mailbox(target) as mailbox:
        found = list(_counted(mailbox))
    output = Output(as_json)
    if as_json:
        for each in found:
            output.record(count_record(each))
    else:
        output.table(COUNT_COLUMNS, [count_row(each, output.console.is_terminal) for each in found])


def _counted(mailbox: Mailbox) -> Iterator[Count]:
    total = mailbox.count(Query())
    yield Count("all", None, total, total)
    in_states = 0
    for state in State:
        [query] = Selection(state=state).queries()
        number = mailbox.count(query)
        in_states += number
        yield Count("state", state, number, total)
    yield Count("state", None, max(total - in_states, 0), total)
    for code in ErrorCode:
        [query] = Selection(error_codes=(code,)).queries()
        yield Count("error-code", code, mailbox.count(query), total)

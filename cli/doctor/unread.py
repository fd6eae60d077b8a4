"""Counts the documents that nothing has read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import click

from cli.doctor import database
from cli.doctor.database import Counted
from cli.doctor.finding import Finding, unknown
from cli.mailbox import Mailbox
from cli.selection import Query
from shared.delivery.model import UNFINISHED

#: A new document has a state within a second or two, so it is without one in at most one of the counts.
COUNTS: Final = 3
PAUSE_SECONDS: Final = 5.0

_ALL: Final = Query()
_WITH_STATE: Final = Query((("delivery.state", ">", ""),))
_SCHEDULED: Final = Query((("delivery.nextAttemptTime", ">", datetime(1970, 1, 1, tzinfo=UTC)),))
_UNFINISHED: Final = Query((("delivery.state", "in", [state.value for state in UNFINISHED]),))


def find_unread(mailbox: Mailbox, sleep: Callable[[float], None]) -> Finding:
    """Count until there are none but new ones, at most three times: about two reads per 1,000 mails each time."""
    try:
        for counted in _counts(mailbox, sleep):
            if counted.may_be_new:
                break
    except click.ClickException as error:
        return unknown("documents", error.message)
    return database.unread(counted)


def _counts(mailbox: Mailbox, sleep: Callable[[float], None]) -> Iterator[Counted]:
    for number in range(COUNTS):
        if number:
            sleep(PAUSE_SECONDS)
        everything, with_state = mailbox.count(_ALL), mailbox.count(_WITH_STATE)
        moving = mailbox.count(_UNFINISHED) - mailbox.count(_SCHEDULED)
        yield Counted(everything, with_state, max(moving, 0))

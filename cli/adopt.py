"""`adopt`: queue the mails that were never queued, in collections of any size.

Nothing else finds them: no query finds a field that is missing, and the dispatcher learns of a document only by its
event. So every document is read, by id and without its content, and the command says where to go on.

An adopted document becomes RETRY, on the condition that it has not changed since it was read. So it does not matter
whether its event is still on its way: then there are two messages, and the first claim takes the mail.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.listing import since_option, until_option, window
from cli.mailbox import Mailbox
from cli.output import Output, json_option, printable
from cli.selection import NEW, Query, Selection, Window
from cli.set_state import (
    ASK_ABOVE,
    UNANSWERED,
    Candidate,
    Pace,
    Tally,
    ask,
    progress,
    rate_option,
    report,
    set_state,
    yes_option,
)
from cli.status import own_paths
from cli.target import Target
from cli.times import rfc3339, with_age
from shared.delivery.model import State

#: How many documents a dry run shows on a terminal.
SHOWN = 10


@click.command(epilog=EXIT_CODES)
@since_option
@until_option
@click.option("--after", metavar="PATH", help="Begin after this document: continue an earlier run.")
@click.option("--limit", type=click.IntRange(min=1), help="The maximum number of mails to queue.")
@click.option("--dry-run", is_flag=True, help=f"Only count them, and show them (on a terminal the first {SHOWN}).")
@rate_option
@yes_option
@json_option
@click.pass_obj
def adopt(
    target: Target,
    since: datetime | None,
    until: datetime | None,
    after: str | None,
    limit: int | None,
    dry_run: bool,
    rate: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Queue the mails that have no 'delivery': nothing has ever worked on them.

    Such are the documents that were written before Firepost was there or while its trigger was missing, those whose
    event was lost (Eventarc keeps one for 24 hours), and those that are too large for an event. They are set to RETRY,
    and sent like any other mail. Check their age first: an old password reset is of no use to anybody.

    No query finds them, so every document of the collection is read, in the order of ids: one read each, 0.06 USD per
    100,000. --since and --until are about when a document was written, and save no reads.

    \b
    Examples:
      python -m cli adopt --dry-run
      python -m cli adopt --since 2d --limit 10
      python -m cli adopt --since 2026-03-31T00:00Z --rate 10 --yes
      python -m cli adopt --since 2d --after mail/order-17

    If interrupted, it prints the --after to continue with. Without that, it begins again, which costs the reads but is
    harmless: mails that were queued have a 'delivery'. The exit code is 0 also if there was nothing to queue.
    """
    [position] = own_paths([after], target) if after else [None]
    selection = Selection(NEW, window=window(since, until))
    output = Output(as_json)
    scan = Scan(selection, limit, position)
    with open_mailbox(target) as mailbox:
        if not dry_run and (limit is None or limit > ASK_ABOVE):
            mails = f"mails of '{target.collection}' without delivery{_bounds(selection.window)}"
            ask(f"Set all {mails} to RETRY?", f"All {mails} would be set to RETRY", yes)
        try:
            with progress(output, "Documents", total=None) as advance:
                for candidate, reason in scan.run(mailbox, None if dry_run else Pace(rate), advance):
                    if not (dry_run and output.console.is_terminal and scan.tally.set > SHOWN):
                        report(candidate, reason, output, dry_run)
        finally:  # also after an interruption or a Firestore failure
            output.note(scan.summary(dry_run, datetime.now(UTC)))


def _bounds(window: Window) -> str:
    since, until = (time and rfc3339(time) for time in (window.since, window.until))
    return (f" since {since}" if since else "") + (f" until {until}" if until else "")


@dataclass(slots=True)
class Scan:
    """A walk over the documents in the order of ids, and what it has found so far.

    `position` is the path up to which everything is done; None is the beginning.
    """

    selection: Selection
    limit: int | None
    position: str | None
    read: int = 0
    tally: Tally = field(default_factory=lambda: Tally(State.RETRY))
    oldest: datetime | None = None
    is_complete: bool = False

    def run(
        self, mailbox: Mailbox, pace: Pace | None, advance: Callable[[int], None]
    ) -> Iterator[tuple[Candidate, str | None]]:
        """Set the selected documents; yields each with the reason why it was not set, or None.

        Without a pace (dry run), nothing is set. `advance` is called with the number of documents just done. A page of
        them is in memory at a time.
        """
        left = self.limit
        for page in mailbox.pages(Query(), self.selection.fields, after=self.position):
            self.read += len(page)
            found = [Candidate(mail.path, mail) for mail in page if self.selection.includes(mail)]
            advance(len(page) - len(found[:left]))
            for candidate, reason in _set(found[:left], mailbox, pace):
                self._count(candidate, reason)
                advance(1)
                yield candidate, reason
            if left is not None and len(found) > left:
                return
            self.position = page[-1].path
            if left is not None and (left := left - len(found)) == 0:
                return
        self.is_complete = True

    def _count(self, candidate: Candidate, reason: str | None) -> None:
        self.tally.count(reason)
        if UNANSWERED not in self.tally.skipped:
            self.position = candidate.path
        if candidate.mail is not None and reason is None:
            self.oldest = min(self.oldest or candidate.mail.created, candidate.mail.created)

    def summary(self, dry_run: bool, now: datetime) -> str:
        """What was done so far, as sentences, and how to continue."""
        text = f"{self.read:,} documents read. {self.tally.sentence(dry_run)}"
        if self.oldest is not None:
            text += f" The oldest was written {with_age(self.oldest, now)}."
        if not self.is_complete and self.position is not None:
            text += f" Continue with --after {shlex.quote(printable(self.position))}"
        return text


def _set(found: list[Candidate], mailbox: Mailbox, pace: Pace | None) -> Iterator[tuple[Candidate, str | None]]:
    return ((each, None) for each in found) if pace is None else set_state(found, State.RETRY, mailbox, pace)

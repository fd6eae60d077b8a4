"""Writes the test mails, watches them, and deletes their documents when they tell nothing more.

If the process dies, they stay: their ids begin with `firepost-doctor-`, their subjects with "Firepost doctor".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import click

from cli.doctor.finding import Fault, Finding, judged, unknown
from cli.doctor.trial import TRIALS, Trial, is_over, may_be_deleted, story
from cli.mail import Mail
from cli.mailbox import Mailbox

#: Seconds between two looks at the mails.
POLL_SECONDS: Final = 0.5
NOT_WRITTEN: Final = "writing needs roles/datastore.user, and a Firestore that can be reached"


@dataclass(frozen=True, slots=True)
class TrialRun:
    """The test mails of one run, to one address. `clock` and `sleep` are in seconds."""

    mailbox: Mailbox
    collection: str
    address: str
    run: str
    patience: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def send(self, now: datetime) -> Iterator[Finding]:
        """Send all at once, and yield a finding about each when all have ended, or after `patience` seconds."""
        paths = {}
        for trial in TRIALS:
            path = trial.path(self.collection, self.run)
            try:
                self.mailbox.create(path, trial.fields(self.address, self.run, now))
            except click.ClickException as error:
                yield judged(trial.check, [Fault(f"{trial.kind}: {error.message}", NOT_WRITTEN)], "")
            else:
                paths[trial] = path
        try:
            mails, waited = self._watch(paths)
        except click.ClickException as error:
            yield from (unknown(trial.check, f"{trial.kind}: {error.message}") for trial in paths)
            return
        for trial, mail in mails.items():
            yield self._cleaned(trial, mail, story(trial, mail, waited))

    def _watch(self, paths: dict[Trial, str]) -> tuple[dict[Trial, Mail | None], float]:
        """The mails as last seen, and how many seconds they were watched. Raises `Unreachable`."""
        start = changed = self.clock()
        seen: dict[Trial, Mail | None] = {}
        while True:
            mails = {trial: self.mailbox.get(path) for trial, path in paths.items()}
            now = self.clock()
            changed = changed if mails == seen else now
            seen = mails
            if is_over(mails, now - start, now - changed, self.patience):
                return mails, now - start
            self.sleep(POLL_SECONDS)

    def _cleaned(self, trial: Trial, mail: Mail | None, finding: Finding) -> Finding:
        if mail is None or not may_be_deleted(trial, mail):
            return finding
        try:
            self.mailbox.delete(mail)
        except click.ClickException:
            return replace(finding, detail=f"{finding.detail}; {mail.path!r} could not be deleted")
        return finding


def new_run(now: datetime, random: str) -> str:
    """The name of a run, which its documents' ids and subjects contain: when, and which."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{random}"

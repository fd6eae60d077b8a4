"""`check-documents`: what the sender would make of the documents that exist. Nothing is sent or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import click
from pydantic import SecretStr

from cli.clients import open_database
from cli.exits import EXIT_CODES, Failed
from cli.listing import since_option, until_option, window
from cli.mail import Mail
from cli.output import Cell, Output, json_option, one_line
from cli.rehearsal import Group, Outcomes, faults_of
from cli.selection import Window
from cli.set_state import progress
from cli.target import Target
from sender.downloads.source import Fetched
from sender.message.compose import Mail as Composed
from sender.settings import SenderSettings
from shared.deadline import Deadline
from shared.errors import Misconfigured
from shared.firestore.database import FirestoreDatabase, Snapshot
from shared.settings import load

#: By default, no more documents are read.
LIMIT = 1_000
COLUMNS = ("RESULT", "CODE", "MAILS", "FAULT", "EXAMPLES")
#: Whole documents, of up to 1 MiB each, that are in memory at a time. Each page is a round trip, and Google's emulator
#: walks through the whole collection for it.
_PAGE = 100


class RehearsalSettings(SenderSettings):
    """The sender's settings, as far as they change what is composed; those for sending have stand-ins."""

    has_callers: ClassVar[bool] = False

    google_cloud_project: str = "none"
    default_from: str = "sender@example.com"
    smtp_connection_uri: SecretStr | None = SecretStr("smtp://mail.example.com")
    sendgrid_api_key: SecretStr | None = SecretStr("none")


@click.command("check-documents", epilog=EXIT_CODES)
@since_option
@until_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=LIMIT,
    show_default=True,
    help="The maximum number of documents to read; each is billed as one read.",
)
@click.option("--all", "everything", is_flag=True, help="Read all documents, without a limit.")
@click.option("--default-from", envvar="DEFAULT_FROM", show_envvar=True, help="The author, where a document has none.")
@click.option("--users", envvar="USERS_COLLECTION", show_envvar=True, help="Path of the collection of users.")
@click.option(
    "--templates", envvar="TEMPLATES_COLLECTION", show_envvar=True, help="Path of the collection of templates."
)
@click.option("--fetch", is_flag=True, help="Also fetch the attachments that are URLs, as the sender would.")
@json_option
@click.pass_obj
def check_documents(
    target: Target,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    everything: bool,
    default_from: str | None,
    users: str | None,
    templates: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Show what would become ERROR, or be sent with a warning, if the documents were sent now.

    Each document is validated, its template rendered and its mail composed, exactly as the sender does; but it is not
    sent, and nothing is written. So before you move from another system, you see what Firepost refuses. The sender's
    other settings, such as TRANSPORT, are read from the environment.

    Documents are read in the order of ids, which is a fair sample if the ids are random. --since and --until save no
    reads, so use them with --all. Users and templates are read as well: one read per user id, and per template.

    \b
    Examples:
      python -m cli check-documents --templates templates --users users
      python -m cli check-documents --since 30d --all
      python -m cli check-documents --json | jq -r 'select(.errorCode == "template") | .examples[0]'

    No content is shown, only names of fields, and paths of documents. The exit code is 1 if there would be an ERROR.
    """
    output, outcomes, total = Output(as_json), Outcomes(), None if everything else limit
    times = window(since, until)
    settings = _settings(default_from, users, templates)
    with open_database(target) as database:
        rehearsal = _Rehearsal(settings, database, fetch)
        read = 0
        with progress(output, "Documents", total) as advance:
            for snapshot in _documents(database, target.collection, total):
                read += 1
                if _is_in(times, snapshot):
                    outcomes.add(snapshot.path, faults_of(snapshot.fields, rehearsal.compose))
                advance(1)
    _show(outcomes, output)
    output.note(_summary(outcomes, read, rehearsal.assumed))
    if read == total:
        output.note(f"Stopped after {read:,} documents: --limit reads more, --all all of them.")
    if outcomes.errors:
        raise click.exceptions.Exit(Failed.exit_code)


def _settings(default_from: str | None, users: str | None, templates: str | None) -> RehearsalSettings:
    given = {"default_from": default_from, "users_collection": users, "templates_collection": templates}
    try:
        return load(RehearsalSettings, **{name: value for name, value in given.items() if value})
    except Misconfigured as error:
        raise click.UsageError(f"{error}.") from error


def _documents(database: FirestoreDatabase, collection: str, most: int | None) -> Iterator[Snapshot]:
    after, left = None, most
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = database.page(collection, size, after)
        yield from page
        if len(page) < size:
            return
        after, left = page[-1].path, left and left - size


def _is_in(times: Window, snapshot: Snapshot) -> bool:
    return times.includes(Mail(snapshot.path, snapshot.fields, snapshot.created, snapshot.version))


class _Rehearsal:
    """Composes mails by the settings; `assumed` is how many have files from elsewhere that were not fetched."""

    def __init__(self, settings: RehearsalSettings, database: FirestoreDatabase, fetch: bool) -> None:
        from sender import bootstrap, factory  # the whole sender: no other command needs it

        self.assumed = 0
        self._seconds = settings.attempt
        try:
            encode = factory.build_channel(settings, settings.data_margin, settings.turn_seconds).encode
            self._compose = bootstrap.composer(settings, database, encode)
            self._downloads = bootstrap.downloads(settings) if fetch else None
        except Misconfigured as error:
            raise click.UsageError(f"{error}.") from error

    def compose(self, fields: Mapping[str, Any]) -> Composed:
        """The mail; raises the errors of `Composer`."""
        deadline = Deadline.after(self._seconds)
        is_assumed = False

        def assume(*_: object) -> Fetched:
            nonlocal is_assumed
            is_assumed = True
            return Fetched(b"", "application/octet-stream")

        fetch = self._downloads.for_attempt(deadline) if self._downloads else assume
        try:
            return self._compose(fields, seed="check", now=datetime.now(UTC), deadline=deadline, fetch=fetch)
        finally:
            self.assumed += is_assumed


def _show(outcomes: Outcomes, output: Output) -> None:
    groups = outcomes.groups()
    if output.as_json:
        for group in groups:
            output.record(_record(group))
    else:
        output.table(COLUMNS, map(_row, groups))


def _record(group: Group) -> dict[str, Any]:
    code, text = group.fault.code, group.fault.text
    result = "error" if code else "warning"
    return {
        "result": result,
        "errorCode": code,
        "fault": text,
        "documents": group.documents,
        "examples": group.examples,
    }


def _row(group: Group) -> Sequence[Cell]:
    code, text = group.fault.code, one_line(group.fault.text)
    result = "ERROR" if code else "warning"
    return result, code or "", str(group.documents), text, one_line(", ".join(group.examples))


def _summary(outcomes: Outcomes, read: int, assumed: int) -> str:
    text = (
        f"{read:,} documents read, {outcomes.documents:,} checked: {outcomes.errors:,} would become ERROR, "
        f"{outcomes.warned:,} would be sent with a warning."
    )
    if assumed:
        text += f" {assumed:,} have attachments from elsewhere, which were not fetched (--fetch)."
    if outcomes.kept_short:
        text += f" {outcomes.kept_short:,} further faults, too different to be grouped, are not shown."
    return text

"""`dead-letters`: inspect and replay messages that could not be processed.

Replaying publishes first, and acknowledges when everything else is done. If the process dies in between, the dead
letter is still there and may be replayed again, which is harmless: a document is sent once, however many messages refer
to it, and an inline mail keeps its id. The other order could lose a mail.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES, Failed, Unreachable
from cli.mailbox import Mailbox
from cli.output import Output, json_option, one_line
from cli.subscription import Browser, browsing
from cli.target import Target
from cli.topics import open_dead_letters, open_topic
from cli.view import LETTER_COLUMNS, letter_details, letter_record, letter_row
from shared.delivery.model import State
from shared.errors import ErrorCode
from shared.pubsub.letters import DELIVERY_LIMIT, REPLAY, Letter
from shared.pubsub.publisher import Publisher


@click.group("dead-letters", epilog=EXIT_CODES)
def dead_letters() -> None:
    """Inspect messages that could not be processed, and replay them.

    They are read from a pull subscription of the dead-letter topic (--dead-letter-subscription of the main command).
    Reading consumes nothing; but while one command holds the dead letters, another one may not see them.
    """


@dead_letters.command("list", epilog=EXIT_CODES)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The maximum number to show.")
@json_option
@click.pass_obj
def list_letters(target: Target, limit: int, as_json: bool) -> None:
    """List dead letters, newest first: id, age, reason, document, error.

    \b
    Examples:
      python -m cli dead-letters list
      python -m cli dead-letters list --json | jq -r 'select(.reason == "delivery-limit") | .id'
    """
    output = Output(as_json)
    now = datetime.now(UTC)
    with open_dead_letters(target) as subscription, browsing(subscription) as browser:
        found = [  # keep only what is shown: a dead letter may have 10 MB
            (letter.published, letter_record(letter, target.collection), letter_row(letter, target.collection, now))
            for letter in islice(browser, limit)
        ]
        is_cut = len(found) == limit and next(iter(browser), None) is not None
    found.sort(key=lambda each: each[0], reverse=True)
    if as_json:
        for _, record, _ in found:
            output.record(record)
    else:
        output.table(LETTER_COLUMNS, [row for _, _, row in found])
    if is_cut:
        output.note(f"Only {limit:,} are shown, but there are more; --limit shows more.")
    elif not found:
        output.note("No dead letters.")


@dead_letters.command(epilog=EXIT_CODES)
@click.argument("identifier", metavar="ID")
@json_option
@click.pass_obj
def show(target: Target, identifier: str, as_json: bool) -> None:
    """Show one dead letter with all its attributes and its data, which may contain a whole mail.

    With --json, 'data' is in base64: exactly what was published.
    """
    output = Output(as_json)
    with open_dead_letters(target) as subscription, browsing(subscription) as browser:
        letter = next((letter for letter in browser if letter.id == identifier), None)
    if letter is None:
        raise Failed(f"No dead letter has the id {identifier}, or another reader holds it at the moment.")
    record = letter_record(letter, target.collection)
    output.result(
        {**record, "attributes": dict(letter.attributes), "data": letter.data},
        letter_details(letter, datetime.now(UTC)),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """The dead letters to replay: those with the given ids, or (no ids) all; optionally restricted by reason."""

    ids: frozenset[str]
    reasons: frozenset[str]

    def __contains__(self, letter: Letter) -> bool:
        return (not self.ids or letter.id in self.ids) and (not self.reasons or letter.reason in self.reasons)


@dead_letters.command(epilog=EXIT_CODES)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "everything", is_flag=True, help="Replay all dead letters.")
@click.option("--reason", "reasons", multiple=True, help="Only those with this reason; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only show which ones would be replayed.")
@json_option
@click.pass_obj
def replay(
    target: Target, ids: tuple[str, ...], everything: bool, reasons: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Publish dead letters to the mail topic again, unchanged, and remove them from the subscription.

    A document that was set to ERROR because Pub/Sub gave up its message (error code 'dead-letter') is set to RETRY;
    otherwise the message would have no effect. Fix the cause first, or the dead letters come back; one that comes back
    is not replayed again in the same run.

    \b
    Examples:
      python -m cli dead-letters replay 10293847561
      python -m cli dead-letters replay --all --reason delivery-limit --dry-run

    The exit code is 1 if there was none to replay, or one of the IDs was not found.
    """
    if bool(ids) == everything:
        raise click.UsageError("Specify either ID..., or --all.")
    wanted = Wanted(frozenset(ids), frozenset(reasons))
    output = Output(as_json)
    with (
        open_topic(target) as topic,
        open_mailbox(target) as mailbox,
        open_dead_letters(target) as subscription,
        browsing(subscription) as browser,
    ):
        replayer = None if dry_run else Replayer(topic, mailbox, target.collection)
        replayed = _replay(browser, wanted, replayer, target.collection, output)
    output.note(f"{len(replayed):,} {'would be ' if dry_run else ''}replayed.")
    missing = wanted.ids - replayed
    if missing:
        raise Failed(f"Not found, held by another reader, or with another reason: {', '.join(sorted(missing))}.")
    if not replayed:
        raise click.exceptions.Exit(Failed.exit_code)


class Replayer:
    """One replay run, which recognizes its own dead letters when they come back."""

    def __init__(self, topic: Publisher, mailbox: Mailbox, collection: str) -> None:
        self._topic = topic
        self._mailbox = mailbox
        self._collection = collection
        self._run = secrets.token_hex(8)

    def has_sent(self, letter: Letter) -> bool:
        """Whether the dead letter was replayed in this run, and has come back."""
        return letter.attributes.get(REPLAY) == self._run

    def replay(self, letter: Letter) -> None:
        """Return once Pub/Sub has confirmed the message, and the document is ready for it."""
        self._topic.publish(*letter.replayed(self._run))
        if letter.reason == DELIVERY_LIMIT:
            self._revive(letter.document(self._collection))

    def _revive(self, document: str) -> None:
        """Set a document to RETRY that a dead letter concluded, unless it has changed since."""
        parent, _, _ = document.rpartition("/")
        mail = self._mailbox.get(document) if parent == self._collection else None
        if mail is not None and mail.state == State.ERROR and mail.error_code == ErrorCode.DEAD_LETTER:
            [outcome] = self._mailbox.set_state([mail], State.RETRY)
            if isinstance(outcome, Unreachable):
                raise outcome


def _replay(browser: Browser, wanted: Wanted, replayer: Replayer | None, collection: str, output: Output) -> set[str]:
    """Replay the selected dead letters and return their ids; without a replayer (dry run), only show them."""
    replayed = set[str]()
    for letter in browser:
        record = letter_record(letter, collection)
        name = f"{letter.id}  {one_line(letter.document(collection)) or '-'}"
        if replayer is not None and replayer.has_sent(letter):
            output.result({**record, "result": "came-back"}, f"{name}  came back: {one_line(letter.reason)}")
        elif letter in wanted:
            if replayer is not None:
                replayer.replay(letter)
                browser.done(letter)
            replayed.add(letter.id)
            result = "would-replay" if replayer is None else "replayed"
            output.result({**record, "result": result}, f"{name}  {result}")
        if wanted.ids and wanted.ids <= replayed:
            break
    return replayed

"""`status`: everything known about a mail; also watches mails until they have ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from cli.clients import open_mailbox
from cli.exits import EXIT_CODES, Failed
from cli.mail import Mail, own_path
from cli.mailbox import Mailbox
from cli.output import Output, json_option
from cli.pause import show_pause
from cli.target import Target
from cli.timeline import TIMELINE_COLUMNS, timeline
from cli.view import mail_details, mail_record, mail_step
from cli.watch import Outcome, follow
from shared.delivery.model import State


@click.command(epilog=EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--watch", "watching", is_flag=True, help="Show its progress, until it has ended.")
@json_option
@click.pass_obj
def status(target: Target, paths: tuple[str, ...], watching: bool, as_json: bool) -> None:
    """Show everything known about mails, except their content; without PATH, what is paused.

    PATH is a document's path, or only its id. The attempts that have ended come last, as a timeline: each bar lies
    where its attempt did, between the moment at which the mail was queued and its end, or now.

    \b
    Examples:
      python -m cli status
      python -m cli status mail/order-17
      python -m cli status order-17 order-18 --json | jq .delivery.state
      python -m cli status order-17 --watch

    The exit code is 1 if a document does not exist; with --watch also if a mail ends in ERROR or CANCELLED.
    """
    documents = own_paths(paths, target)
    output = Output(as_json)
    if not documents:
        show_pause(target, output)
        return
    if watching:
        watch(target, documents, output, None)
        return
    missing = []
    with open_mailbox(target) as mailbox:
        for path in documents:
            mail = mailbox.get(path)
            if mail is None:
                missing.append(path)
            else:
                _show(mail, output)
    if missing:
        raise Failed(f"No such document: {', '.join(missing)}.")


def _show(mail: Mail, output: Output) -> None:
    now = datetime.now(UTC)
    output.result(mail_record(mail), mail_details(mail, now))
    if not output.as_json:
        output.table(TIMELINE_COLUMNS, timeline(mail, now, with_bars=output.console.is_terminal))


def own_paths(texts: Sequence[str], target: Target) -> list[str]:
    """The documents' paths, without duplicates. Raises `click.BadParameter` for one outside the collection."""
    try:
        return list(dict.fromkeys(own_path(text, target.collection) for text in texts))
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="PATH") from error


def watch(target: Target, paths: Sequence[str], output: Output, seconds: float | None) -> None:
    """Show each mail's progress, one mail after the other, until it has ended or `seconds` have passed.

    If `seconds` is None, documents must exist. Raises `Failed` if one does not end in SUCCESS.
    """
    with open_mailbox(target) as mailbox:
        faults = [fault for path in paths if (fault := _fault(mailbox, path, output, seconds))]
    if faults:
        raise Failed(" ".join(faults))


def _fault(mailbox: Mailbox, path: str, output: Output, seconds: float | None) -> str | None:
    """Watch one mail to its end; returns a sentence unless that is SUCCESS."""

    def show(mail: Mail) -> None:
        output.result(mail_record(mail), mail_step(mail, datetime.now(UTC)))

    if seconds is None and mailbox.get(path) is None:
        return f"No such document: {path}."
    outcome, mail = follow(lambda: mailbox.get(path), show, seconds, time.monotonic, time.sleep)
    if outcome is Outcome.DELETED:
        return f"{path} was deleted."
    if outcome is Outcome.TIMEOUT:
        return f"{path} has not ended within {seconds:g} s; it is {mail.state or 'new' if mail else 'not there yet'}."
    state = mail.state if mail is not None else ""
    return None if state == State.SUCCESS else f"{path} ended in {state}."

"""`doctor`: check every hop of an installation, and send test mails through it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Final

import click
from rich.text import Text

from cli.clients import open_mailbox
from cli.doctor import questions, subscriptions
from cli.doctor.examination import CHECKS, examine
from cli.doctor.finding import Finding, Verdict, skipped, summary
from cli.doctor.google_apis import GoogleApis
from cli.doctor.installation import Installation, read_outputs
from cli.doctor.local_stack import examine_local
from cli.doctor.trial import TRIALS
from cli.doctor.trial_run import TrialRun, new_run
from cli.doctor.unread import find_unread
from cli.exits import EXIT_CODES, Failed, reaching
from cli.output import Output, json_option, printable
from cli.target import EMULATORS, Target
from sender.document.document import parse_document
from shared.errors import NotSendable

PATIENCE_SECONDS: Final = 120.0

_MARKS = {Verdict.OK: "✓", Verdict.WRONG: "✗", Verdict.UNKNOWN: "?", Verdict.SKIPPED: "-"}
_COLOURS = {Verdict.OK: "green", Verdict.WRONG: "red", Verdict.UNKNOWN: "yellow", Verdict.SKIPPED: "dim"}
_WIDTH = max(len(check) for check in (*CHECKS, *(trial.check for trial in TRIALS)))


@click.command(epilog=EXIT_CODES)
@click.option(
    "--terraform",
    "outputs_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="What 'terraform output -json' prints; - is standard input.",
)
@click.option("--name", help="The module's 'name'; with --terraform, it chooses one of several.")
@click.option("--region", help="Without --terraform: the region of the services.")
@click.option("--database-location", help="Without --terraform: the database's location, if it is another.")
@click.option("--scheduler-region", help="Without --terraform: the scheduler's region, if it is another.")
@click.option("--pull", "pulls", is_flag=True, help="Without --terraform: the sender is a worker pool.")
@click.option("--to", "address", metavar="ADDRESS", help="Send test mails to this address.")
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(min=1),
    default=PATIENCE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the test mails.",
)
@json_option
@click.pass_obj
def doctor(
    target: Target,
    outputs_file: str | None,
    name: str | None,
    region: str | None,
    database_location: str | None,
    scheduler_region: str | None,
    pulls: bool,
    address: str | None,
    patience: float,
    as_json: bool,
) -> None:
    """Check every hop of an installation, one line each: ✓ fine, ✗ wrong, ? can't tell, - does not apply.

    It reads how APIs, trigger, subscriptions, permissions, services, secrets, scheduler, indexes and alerts are set up
    and what waits, and counts the documents that nothing has read. With --to, it then sends four mails: with an
    ordinary id, with one that ends in a space, from a document of 300 KB and from one of 600 KB. It deletes their
    documents if the mails were sent, and keeps the others as evidence. Nothing else is changed.

    \b
    Examples:
      terraform output -json | python -m cli doctor --terraform - --to ops@example.com
      python -m cli --project shop doctor --name firepost --region europe-west1
      python -m cli --local /tmp/firepost.json doctor --to ada@example.com

    The exit code is 1 if something is wrong, or if a check could not be made.
    """
    if address is not None:
        _check_address(address)
    is_local = any(os.environ.get(variable) for variable in EMULATORS)
    if is_local and (outputs_file or name):
        raise click.UsageError("On the local stack and other emulators, there is nothing for --terraform or --name.")
    installation = None
    if outputs_file:
        if region or database_location or scheduler_region or pulls:
            raise click.UsageError("--terraform says where everything is: omit the options without it.")
        target, installation = _in_outputs(target, outputs_file, name)
    elif not is_local:
        if not (name and region):
            raise click.UsageError("Which installation? Use --terraform FILE, or --name and --region, or --local FILE.")
        base = (target.project, target.database, target.collection)
        installation = Installation.named(*base, name, region, database_location, scheduler_region, pulls)
    target.check(os.environ)
    output = Output(as_json)
    findings = []
    for finding in _examine(target, installation, output, address, patience):
        findings.append(finding)
        output.result(_record(finding), _line(finding, output.console.is_terminal))
    output.note(summary(findings))
    if not all(finding.is_fine for finding in findings):
        raise click.exceptions.Exit(Failed.exit_code)


def _check_address(address: str) -> None:
    try:
        parse_document(TRIALS[0].fields(address, "", datetime.now(UTC)))
    except NotSendable as error:
        raise click.BadParameter(str(error), param_hint="--to") from error


def _in_outputs(target: Target, file: str, name: str | None) -> tuple[Target, Installation]:
    """The installation that Terraform's outputs describe, and the target there."""
    try:
        with click.open_file(file, encoding="utf-8") as text:
            outputs = read_outputs(json.load(text), name)
    except (ValueError, RecursionError) as error:  # includes what is not JSON, or not UTF-8
        raise click.BadParameter(f"{error}.", param_hint="--terraform") from error
    found = outputs.installation
    follows = replace(
        target,
        project=found.project,
        database=found.database,
        collection=found.collection,
        topic=outputs.topic,
        dead_letters=outputs.dead_letter_subscription,
    )
    return follows, found


def _examine(
    target: Target,
    installation: Installation | None,
    output: Output,
    address: str | None,
    patience: float,
) -> Iterator[Finding]:
    with open_mailbox(target) as mailbox:
        if installation is None:
            yield from examine_local(target)
        else:
            yield from _examine_cloud(installation, output)
        yield find_unread(mailbox, time.sleep)
        if address is None:
            yield from (skipped(trial.check, "no test mail without --to") for trial in TRIALS)
            return
        now = datetime.now(UTC)
        run = new_run(now, secrets.token_hex(3))
        yield from TrialRun(mailbox, target.collection, address, run, patience, time.monotonic, time.sleep).send(now)


def _examine_cloud(installation: Installation, output: Output) -> Iterator[Finding]:
    """A new trigger delivers nothing for a while, and what is written meanwhile may never get an event: wait for it."""
    with reaching("Google Cloud"), GoogleApis.connect(installation.project) as apis:
        starts = subscriptions.starts(apis.ask(questions.trigger(installation)))
        pause = (starts - datetime.now(UTC)).total_seconds() if starts else 0.0
        if pause > 0:
            output.note(f"The trigger is new: waiting for {pause:.0f} s until it delivers events.")
            time.sleep(pause)
        yield from examine(installation, cache(apis.ask), datetime.now(UTC))


# --- Display ---


def _record(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


def _line(finding: Finding, is_terminal: bool) -> str | Text:
    """One line; in a pipe its columns are separated by tabs."""
    mark, detail = _MARKS[finding.verdict], printable(" ".join(finding.detail.splitlines()))
    if not is_terminal:
        return "\t".join(filter(None, (mark, finding.check, detail, finding.remedy)))
    remedy = f"  To do: {finding.remedy}." if finding.remedy else ""
    colour = _COLOURS[finding.verdict]
    return Text.assemble(
        (mark, colour), f" {finding.check:<{_WIDTH}}  ", (detail, "dim" * (colour == "dim")), (remedy, "bold")
    )

"""`pause` and `resume`: stop all mail, or that of a transport or lane, and let it go on.

Both write the control document (`shared.delivery.pause`) in a transaction, so that two operators, or an operator and
the reconciler, do not overwrite each other. Running the same command again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from cli.clients import open_database
from cli.exits import EXIT_CODES, Failed
from cli.output import Output, json_option
from cli.target import Target
from cli.times import with_age
from shared.delivery.model import Changes
from shared.delivery.pause import Kind, Part, Pause, control_path, pausing, resuming
from shared.firestore.database import FirestoreDatabase, Snapshot

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", value):
        raise click.BadParameter(f"expected a name of {str(parameter.name).upper()}S, or 'default'.")
    return value


def _part_options(command: _Command) -> _Command:
    for kind in reversed(Kind):  # the last decorator is the first option
        text = f"Only this {kind}: a name of {kind.upper()}S, or 'default'."
        command = click.option(f"--{kind}", metavar="NAME", callback=_name, help=text)(command)
    return command


def _part(transport: str | None, lane: str | None) -> Part | None:
    """What the options name; None is all mail. Raises `click.UsageError` if that is two things."""
    if transport is not None and lane is not None:
        raise click.UsageError("--transport and --lane are paused and resumed one by one.")
    if transport is not None:
        return Part(Kind.TRANSPORT, transport)
    return None if lane is None else Part(Kind.LANE, lane)


@click.command(epilog=EXIT_CODES)
@_part_options
@json_option
@click.pass_obj
def pause(target: Target, transport: str | None, lane: str | None, as_json: bool) -> None:
    """Stop all mail, or that of a transport or lane.

    Within ten seconds, nothing new is handed to a mail server; mails that are being handed over just then are sent.
    Mails stay queued, however long the pause lasts: no attempt is made, and none fails. 'sendAt', 'expiresAt' and
    CANCELLED count as always. Nobody checks whether there is a transport or lane with that name.

    \b
    Examples:
      python -m cli pause
      python -m cli pause --transport billing
      python -m cli pause --lane bulk

    The exit code is 0 also if that was paused already.
    """
    output, part = Output(as_json), _part(transport, lane)
    with open_database(target) as database:
        _, after = _changed(database, target, lambda known: pausing(known, part, datetime.now(UTC)))
    _show(after, output)


@click.command(epilog=EXIT_CODES)
@_part_options
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    help="The maximum number per second of mails that have waited; without it, as fast as senders take them.",
)
@json_option
@click.pass_obj
def resume(target: Target, transport: str | None, lane: str | None, rate: float | None, as_json: bool) -> None:
    """Let mail go on: all of it, or that of a transport or lane; those that were paused by name stay so.

    The reconciler queues the mails that have waited within a minute, the oldest first, with --rate at most so many a
    second. New mails do not wait behind them.

    \b
    Examples:
      python -m cli resume --rate 50
      python -m cli resume --lane bulk

    The exit code is 1 if that was not paused.
    """
    output, part = Output(as_json), _part(transport, lane)
    with open_database(target) as database:
        before, after = _changed(database, target, lambda known: resuming(known, part, rate, datetime.now(UTC)))
    if before == after:
        raise Failed(f"{str(part or 'all mail').capitalize()} is not paused.")
    _show(after, output)


def show_pause(target: Target, output: Output) -> None:
    """Show what is paused, and whether the reconciler still catches up after that."""
    with open_database(target) as database:
        known = _known(database.get(control_path(target.collection)))
    _show(known, output)


def _changed(
    database: FirestoreDatabase, target: Target, decide: Callable[[Pause], Changes | None]
) -> tuple[Pause, Pause]:
    """What was paused before, and after the change."""

    def in_transaction(found: Snapshot | None) -> tuple[Pause, Changes | None]:
        known = _known(found)
        return known, decide(known)

    path = control_path(target.collection)
    before, _, version = database.transact(path, in_transaction)
    return before, before if version is None else _known(database.get(path))


def _known(found: Snapshot | None) -> Pause:
    if found is None:
        return Pause()
    try:
        return Pause.of(found.fields)
    except ValueError as error:
        text = f"The document {found.path} makes no sense, and is ignored: {error}. Correct or delete it."
        raise Failed(text) from error


def _show(known: Pause, output: Output) -> None:
    now = datetime.now(UTC)
    resumed = known.resumed
    record = {
        "paused": known.since,
        "transports": known.named(Kind.TRANSPORT),
        "lanes": known.named(Kind.LANE),
        "resumed": resumed and {"time": resumed.time, "rate": resumed.rate},
    }
    lines = [f"All mail: paused since {with_age(known.since, now)}" if known.since else "All mail: not paused"]
    lines += [f"{str(part).capitalize()}: paused since {with_age(time, now)}" for part, time in known.parts.items()]
    if resumed is not None:
        rate = "no limit" if resumed.rate is None else f"at most {resumed.rate:g} a second"
        lines.append(f"Catching up since {with_age(resumed.time, now)}: {rate}")
    output.result(record, "\n".join(lines))

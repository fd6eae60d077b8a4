"""`python -m local`: the command line of the local stack."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from local.backends.embedded import Faults, fault_flags
from local.demo.board import Board, new_console
from local.demo.run import play
from local.demo.scenario import STORIES
from local.errors import CannotStart, PartFailed
from local.logview import LogFollower, compact, is_idle
from local.options import CONSOLE_PORT, SMTP_PORT, StackOptions, parse_address, parse_setting
from local.release import Release
from local.services import SUBSCRIPTION_TYPES
from local.setting_names import check_names
from local.stack import BACKENDS, Stack, write_ready_file
from shared.errors import Misconfigured

EXIT_DIFFERENT, EXIT_CANNOT_START, EXIT_PART_FAILED = 1, 3, 4

_DEFAULTS = StackOptions()
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_CODES = """\b
Exit codes:
0  up: stopped on request; demo: everything ended as expected
1  demo: something ended differently, or the demo was stopped early
2  wrong usage
3  can't run here: something is not installed, or a port is taken
4  a part did not start, or died
"""


def _settings(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    try:
        settings = dict(parse_setting(value) for value in values)
        check_names(settings)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return settings


def _release_uri(context: click.Context, parameter: click.Parameter, uri: str | None) -> str | None:
    try:
        if uri is not None:
            Release(uri)
    except Misconfigured as error:
        raise click.BadParameter(str(error).replace("SMTP_CONNECTION_URI", "--release-uri")) from error
    return uri


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _faults(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        fault_flags.apply(Faults(), values, seed=0)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return values


def _ready_file(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.parent}.")
    return path


_backend = click.option(
    "--backend",
    type=click.Choice(list(BACKENDS)),
    default=_DEFAULTS.backend,
    show_default=True,
    help="What stands in for Google Cloud.",
)
_set = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_settings,
    help="An environment variable for both services, such as LEASE_SECONDS=10. May be repeated.",
)
_port = click.IntRange(0, 65535)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
def cli() -> None:
    """Firepost on this machine: both services, Firestore, Pub/Sub, and an SMTP inbox with a web page.

    No cloud account is needed, and no mail leaves this machine unless --smtp-uri says so.
    """


@cli.command(epilog=_EXIT_CODES)
@_backend
@click.option("--project", default=_DEFAULTS.project, show_default=True, help="The id of the simulated project.")
@click.option("--firestore-port", type=_port, default=0, help="Where Firestore listens (default: any free port).")
@click.option(
    "--firestore",
    metavar="HOST:PORT",
    callback=_address,
    help="Use the Firestore emulator that runs there, as of 'firebase emulators:start', and leave it running.",
)
@click.option("--pubsub-port", type=_port, default=0, help="Where Pub/Sub listens (default: any free port).")
@click.option(
    "--console-port",
    type=_port,
    help=f"Where console and inbox are in the browser (default: {CONSOLE_PORT}, or the next free port).",
)
@click.option(
    "--smtp-port", type=_port, help=f"Where the inbox takes mail (default: {SMTP_PORT}, or the next free port)."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep documents, mails and dead letters in this directory from one start to the next.",
)
@click.option("--smtp-uri", help="Send to this mail server instead of the inbox: smtp://user:password@host:port.")
@click.option(
    "--release-uri",
    callback=_release_uri,
    help="Allow mails of the inbox to be released to real addresses, one by one, over this mail server.",
)
@_set
@click.option(
    "--fault",
    "faults",
    metavar="TARGET:WHAT[@SHARE]",
    multiple=True,
    callback=_faults,
    help="A fault to inject (backend embedded): events:duplicate@0.3, pushes:reorder, Commit:lose-response@0.1, "
    "BatchGetDocuments:fail=ABORTED@0.05, '*:delay=0.2'. May be repeated.",
)
@click.option(
    "--sender",
    type=click.Choice(SUBSCRIPTION_TYPES),
    default=_DEFAULTS.sender,
    show_default=True,
    help="How the sender receives its messages.",
)
@click.option("--seed", default=0, help="The random seed of the faults.")
@click.option(
    "--verify-tokens/--no-verify-tokens",
    default=None,
    help="Whether the services accept only authenticated calls (default: yes; no with the backend google, whose "
    "Pub/Sub signs none).",
)
@click.option(
    "--limit-events/--no-limit-events",
    default=_DEFAULTS.limit_events,
    show_default=True,
    help="Drop events of more than 512 KB, as Eventarc may.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_ready_file,
    help="Write the addresses to this file, as one JSON object, when everything is ready.",
)
@click.option("--quiet", is_flag=True, help="Don't show the services' logs.")
def up(ready_file: Path | None, quiet: bool, **chosen: Any) -> None:
    """Start everything and keep it running until Ctrl-C.

    Point an application at it with the variables that are shown.
    """
    options = StackOptions(**chosen)
    if options.firestore is not None and (
        options.firestore_port or options.data or options.backend != _DEFAULTS.backend
    ):
        raise click.UsageError("--firestore goes with none of --firestore-port, --data and --backend google.")
    with _exit_codes(stopped=0):
        click.echo("Starting …")
        with Stack(options) as stack, _told_in(ready_file, stack.ready):
            click.echo(_welcome(stack))
            with contextlib.nullcontext() if quiet else _shown_logs(stack):
                stack.wait()


#: The settings of a demo: nobody watches a mail wait for half a minute.
_IMPATIENT = {"RETRY_FIRST_SECONDS": "1"}


@cli.command(epilog=_EXIT_CODES)
@_backend
@_set
@click.option("--keep", is_flag=True, help="Keep everything running afterwards, until Ctrl-C.")
def demo(backend: str, settings: dict[str, str], keep: bool) -> None:
    """Send six mails through the whole system and watch them: sent, refused, corrected, delayed."""
    board = Board(STORIES, new_console())
    wrong: list[str] = []
    with _exit_codes(stopped=EXIT_DIFFERENT):
        board.explain(backend)
        board.say("Starting …", "dim")
        with Stack(StackOptions(backend=backend, settings=_IMPATIENT | settings)) as stack:
            board.begin()
            try:
                wrong = play(stack, STORIES, board)
            finally:
                board.end()
            board.conclude(stack.inbox.store.mails(), wrong)
            if keep:
                with _kept_running():
                    click.echo(_welcome(stack))
                    stack.wait()
    if wrong:
        sys.exit(EXIT_DIFFERENT)


@contextlib.contextmanager
def _told_in(ready_file: Path | None, ready: Mapping[str, str]) -> Iterator[None]:
    """The ready file is there while the block runs: one that stays would be misleading."""
    if ready_file is None:
        yield
        return
    write_ready_file(ready_file, ready)
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)


def _welcome(stack: Stack) -> str:
    ready, options = stack.ready, stack.options
    lines = (
        click.style("Firepost is up.", fg="green", bold=True) + " Ctrl-C stops it.",
        f"  Console     {ready['console']}",
        f"  Inbox       {ready['inbox']}   (SMTP {ready['smtp']})",
        *_moved(options.console_port, CONSOLE_PORT, ready["inbox"]),
        *_moved(options.smtp_port, SMTP_PORT, ready["smtp"]),
        f"  Dispatcher  {ready['dispatcher']}",
        f"  Sender      {ready['sender']}",
        f"  Documents   '{options.setting('MAIL_COLLECTION')}' in project {ready['project']}, topic '{ready['topic']}'",
        "  For an application:",
        f"    export FIRESTORE_EMULATOR_HOST={ready['firestore']}",
        f"    export PUBSUB_EMULATOR_HOST={ready['pubsub']}",
        f"    export GOOGLE_CLOUD_PROJECT={ready['project']}",
        *_about_clients(stack),
        _about_callers(stack),
    )
    return "\n".join(lines)


def _moved(wanted: int | None, usual: int, address: str) -> list[str]:
    """A line about a port that is not the usual one because others have that."""
    port = address.rpartition(":")[2]
    return [] if wanted is not None or port == str(usual) else [f"  Port {usual} is in use: it is {port} this time."]


def _about_clients(stack: Stack) -> Iterator[str]:
    if stack.options.backend == "embedded" and stack.options.firestore is None:
        yield "  Web SDKs in a browser, and REST, need --backend google."


def _about_callers(stack: Stack) -> str:
    if stack.options.has_tokens:
        url = f"{stack.ready['inbox']}/api/tokens/sender"
        return f'  To call the sender: curl -H "Authorization: Bearer $(curl -s \\\n    {url})" …'
    return "  The services verify no tokens: they accept all calls from this machine,\n  except those of web pages."


@contextlib.contextmanager
def _shown_logs(stack: Stack) -> Iterator[None]:
    """Show the services' logs while the block runs."""
    logs = {name: stack.logs / f"{name}.log" for name in stack.options.services}

    def show(name: str, line: str) -> None:
        if not is_idle(line):
            click.echo(compact(name, line))

    follower = LogFollower(logs, show)
    follower.start()
    try:
        yield
    finally:
        follower.stop()


@contextlib.contextmanager
def _exit_codes(stopped: int) -> Iterator[None]:
    """Translate signals (to `stopped`) and failures inside the block to the documented exit codes."""
    _log_to_stderr()
    for number in _STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
            signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        sys.exit(stopped)
    except CannotStart as error:
        click.echo(f"Can't start: {error}", err=True)
        sys.exit(EXIT_CANNOT_START)
    except PartFailed as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_PART_FAILED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Begin to shut down at the first signal; later ones must not interrupt that."""
    for each in _STOP_SIGNALS:
        signal.signal(each, lambda number, frame: None)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _kept_running() -> Iterator[None]:
    """The demo's result is known: Ctrl-C only ends the time to look around."""
    with contextlib.suppress(KeyboardInterrupt):
        yield


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s stack      %(message)s", "%H:%M:%S"))
    handler.formatter.converter = time.gmtime  # type: ignore[union-attr]  # as the services' logs
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("local").setLevel(logging.INFO)


if __name__ == "__main__":
    cli(prog_name="python -m local")

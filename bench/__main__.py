"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

import click

from bench.figures import Row
from bench.plan import LOADS, MODES, Load, Mode
from bench.run import Player, Show
from bench.system import Parts, System
from bench.table import new_console, table
from local.backends.google import find_launchers
from local.errors import CannotStart, PartFailed
from local.stack import BACKENDS

EXIT_CANNOT_RUN = 3


@click.command()
@click.option("--modes", default="push", show_default=True, help="Which, separated by commas.")
@click.option("--loads", default="burst-1k", show_default=True, help="Which, separated by commas.")
@click.option("--quick", is_flag=True, help="A look within two minutes.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), help="By default Google's emulators, where installed.")
def main(modes: str, loads: str, quick: bool, backend: str | None) -> None:
    """Measure what a mail costs, and how long it takes."""
    logging.basicConfig(level=logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    console = new_console()
    chosen_backend = backend or _default_backend()
    rows = []
    try:
        for mode in (MODES[name] for name in modes.split(",")):
            with console.status(f"{mode.name}: starting …") as status:
                rows += _measure(mode, [LOADS[name] for name in loads.split(",")], chosen_backend, status.update)
    except (CannotStart, PartFailed) as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CANNOT_RUN)
    console.print(table(f"backend {chosen_backend}", rows))


def _measure(mode: Mode, loads: list[Load], backend: str, show: Show) -> list[Row]:
    parts = Parts(backend, sender=mode.sender, settings=mode.settings or {})
    with System(parts) as system:
        if backend == "google" and not mode.pulls:
            system.start_pusher()
        player = Player(mode, system, show)
        player.warm_up()
        return [player.measure(load) for load in loads]


def _default_backend() -> str:
    try:
        find_launchers()
    except CannotStart:
        return "embedded"
    return "google"


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

import click

from bench.figures import Row
from bench.plan import LOADS, MODES, require_settings
from bench.suite import Chosen, Suite
from bench.table import cells, new_console, table
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
    chosen = Chosen(
        backend or _default_backend(),
        [MODES[name] for name in modes.split(",")],
        [LOADS[name] for name in loads.split(",")],
        not quick,
    )
    try:
        for mode in chosen.modes:
            require_settings(mode)
        with console.status("starting …") as status:

            def tell(row: Row) -> None:
                console.print("  ".join(cells(row)))

            measured = Suite(chosen, status.update, tell).run()
    except (CannotStart, PartFailed) as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CANNOT_RUN)
    console.print(table(f"backend {chosen.backend}", measured.rows))
    console.print(measured.operations)
    console.print(measured.references)


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

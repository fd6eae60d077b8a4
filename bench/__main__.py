"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

import click
from rich.console import Console

from bench import chart, markdown, plan, postfix, results
from bench.figures import Row
from bench.plan import Shape, require_settings
from bench.results import Results
from bench.sheets import one_line
from bench.suite import Chosen, Suite
from bench.table import new_console, show
from local.backends.google import find_launchers
from local.errors import CannotStart
from local.services import ROOT
from local.stack import BACKENDS
from sender.settings import SenderSettings

EXIT_INCOMPLETE, EXIT_CANNOT_RUN = 1, 3

_DOCUMENT = ROOT / "docs" / "performance.md"
_QUICK_LOADS = (plan.SINGLE, plan.BURST_1K)
_QUICK_MAILS = 30

T = TypeVar("T")


def _some_of(known: Mapping[str, T]) -> Callable[[click.Context, click.Parameter, str | None], list[T] | None]:
    def chosen(context: click.Context, parameter: click.Parameter, value: str | None) -> list[T] | None:
        names = value.split(",") if value else []
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(known)}.")
        return [known[name] for name in names] or None

    return chosen


@click.command(
    epilog="Exit codes: 0 everything measured, 1 something could not be, 2 wrong usage, 3 nothing can be measured here."
)
@click.option("--modes", callback=_some_of(plan.MODES), help=f"Some of {','.join(plan.MODES)}.  [default: all]")
@click.option(
    "--loads", callback=_some_of(plan.LOADS), help=f"Some of {','.join(plan.LOADS)}.  [default: what the mode needs]"
)
@click.option("--quick", is_flag=True, help="Fewer loads and no comparisons: done within four minutes.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), help="[default: google where installed, else embedded]")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here.")
@click.option("--chart", "chart_path", type=click.Path(dir_okay=False, path_type=Path), help="Write an SVG here.")
@click.option(
    "--from", "earlier", type=click.Path(exists=True, path_type=Path), help="Show the results in this JSON file."
)
@click.option("--write-docs", is_flag=True, help="Put the results into docs/performance.md, with JSON and chart.")
def main(
    modes: list[plan.Mode] | None,
    loads: list[plan.Load] | None,
    quick: bool,
    backend: str | None,
    json_path: Path | None,
    chart_path: Path | None,
    earlier: Path | None,
    write_docs: bool,
) -> None:
    """Measure the cost and the latency of a mail, in one table; docs/performance.md describes the method."""
    logging.basicConfig(level=logging.ERROR)
    signal.signal(signal.SIGTERM, _stop)
    console = new_console()
    if earlier is not None:
        measured = results.load(earlier)
    else:
        if quick:
            loads = [_shortened(load) for load in loads or _QUICK_LOADS]
        chosen = Chosen(backend or _default_backend(), modes or list(plan.MODES.values()), loads, not quick)
        measured = _measure(chosen, console)
        results.save(measured, json_path or ROOT / "bench" / "results" / f"{measured.setting.begun:%Y%m%dT%H%M%S}.json")
    show(console, measured)
    if chart_path is not None:
        chart_path.write_text(chart.svg(measured))
    if write_docs:
        _write_docs(measured)
    sys.exit(EXIT_INCOMPLETE if measured.failures else 0)


def _measure(chosen: Chosen, console: Console) -> Results:
    loads = chosen.loads or ()
    if plan.STEADY in loads and all(load.shape is not Shape.BURST for load in loads):
        raise click.UsageError("The steady load is half the rate of a burst: add a burst to --loads.")
    try:
        for mode in chosen.modes:
            require_settings(mode)
    except CannotStart as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CANNOT_RUN)
    mail_server = "smtp-sink" if postfix.find("smtp-sink") else "bench/sink.py"
    pool_size = SenderSettings.model_fields["smtp_max_connections"].default
    setting, begin = results.here_and_now(chosen.backend, mail_server, pool_size), time.monotonic()

    def tell(row: Row) -> None:
        console.print(one_line(row))

    with console.status("starting …") as status:
        measured = Suite(chosen, status.update, tell).run()
    return Results(
        setting,
        time.monotonic() - begin,
        measured.rows,
        measured.operations,
        measured.references,
        measured.failures,
        measured.starts,
    )


def _shortened(load: plan.Load) -> plan.Load:
    return replace(load, mails=_QUICK_MAILS) if load.shape is Shape.SINGLE else load


def _write_docs(measured: Results) -> None:
    results.save(measured, _DOCUMENT.with_suffix(".json"))
    _DOCUMENT.with_suffix(".svg").write_text(chart.svg(measured))
    _DOCUMENT.write_text(markdown.spliced(_DOCUMENT.read_text(), measured))


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

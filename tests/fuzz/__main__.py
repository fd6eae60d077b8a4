"""Tries hostile input of each class for its share of the time, and prints a table.

    python -m tests.fuzz [--seconds 600] [--only CLASS] [--seed N]

Exit codes: 0 everything held; 1 something did not. The failing input is printed with the command that repeats it.
"""

from __future__ import annotations

import logging
import random
import shlex
import sys
import time

import click

from tests.fuzz.catalogue import KINDS, file_of
from tests.fuzz.kind import Kind, Tally, run

_PROGRESS_SECONDS = 10.0


def tried(kind: Kind, seconds: float, seed: int) -> Tally:
    """Try inputs for that long, at least one, and print how it goes."""
    began = spoken = time.monotonic()
    tally = Tally()
    for tally in run(kind, seed):
        now = time.monotonic()
        if now >= began + seconds:
            break
        if now > spoken + _PROGRESS_SECONDS:
            spoken = now
            click.echo(f"  {kind.name}: {tally.inputs:,} inputs")
    click.echo(f"{kind.name}: {tally.inputs:,} inputs, {'FAILED' if tally.failure else 'all held'}")
    if tally.failure:
        again = f"--only {shlex.quote(kind.name)} --seed {seed + tally.inputs - 1} --seconds 0"
        click.echo(f"\n{tally.failure}\nAgain: python -m tests.fuzz {again}\n")
    return tally


def table(results: list[tuple[Kind, Tally]]) -> str:
    """The results in Markdown, as docs/security.md has them."""
    rows = [["class", "inputs", "failures", "slowest", "what must hold", "test"], ["---"] * 6]
    for kind, tally in results:
        failures, slowest = int(bool(tally.failure)), f"{tally.slowest * 1000:,.0f} ms"
        rows.append([kind.name, f"{tally.inputs:,}", f"{failures}", slowest, kind.must, f"`{file_of(kind)}`"])
    return "\n".join([f"| {' | '.join(row)} |" for row in rows])


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), default=600.0, help="For all classes together.")
@click.option("--only", type=click.Choice([kind.name for kind in KINDS]), help="Only this class.")
@click.option("--seed", type=click.IntRange(min=0), help="The number of the first input; random by default.")
def main(seconds: float, only: str | None, seed: int | None) -> None:
    """Try hostile input of each class for its share of the time."""
    logging.disable(logging.CRITICAL)  # what is logged about such input has its own tests
    seed = random.randrange(10**9) if seed is None else seed
    kinds = [kind for kind in KINDS if only in (None, kind.name)]
    click.echo(f"{len(kinds)} classes, {seconds / len(kinds):.0f} s each, seed {seed}")
    results = [(kind, tried(kind, seconds / len(kinds), seed)) for kind in kinds]
    click.echo(f"\n{table(results)}")
    sys.exit(any(tally.failure for _, tally in results))


if __name__ == "__main__":
    main()

"""Runs mutmut as `[tool.mutmut]` says, and fails unless a test fails for each mutant that is not known as equivalent.

    python -m tests.mutants

Exit codes: 0 all are found out; 1 some are not, or the list of equivalent ones is out of date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tomllib import loads

import click

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")

#: A mutant that never ends is found out as well.
FOUND_OUT = {"killed", "timeout"}

#: A function's name (`module.Class.function`) and its line as it is mutated.
Mutant = tuple[str, str]


def mutmut(*arguments: str) -> str:
    """Run mutmut; its output. Raises `ClickException`, with the end of the output, when it fails."""
    run = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise click.ClickException(f"mutmut {arguments[0]} failed:\n{(run.stdout + run.stderr)[-3000:]}")
    return run.stdout


def mutated_files() -> list[str]:
    """The files that are mutated. Raises `ClickException` where one is gone, which mutmut would pass over."""
    files: list[str] = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]["only_mutate"]
    if gone := [file for file in files if not (ROOT / file).is_file()]:
        raise click.ClickException(f"pyproject.toml, tool.mutmut.only_mutate: no such file: {', '.join(gone)}")
    return files


def outcomes() -> Iterator[tuple[str, str]]:
    """mutmut's name of each mutant (`module.xǁClassǁfunction__mutmut_3`) and what became of it."""
    for line in mutmut("results", "--all", "true").splitlines():
        name, _, outcome = line.strip().rpartition(": ")
        if name:
            yield name, outcome


def mutant(name: str) -> Mutant:
    """What mutmut's name stands for."""
    changed = [line[1:].strip() for line in mutmut("show", name).splitlines() if line.startswith(("+", "-"))]
    function = name.rpartition("__mutmut_")[0].replace(".xǁ", ".").replace(".x_", ".").replace("ǁ", ".")
    return function, changed[-1]


def main() -> None:
    """Mutate, report and exit."""
    files = mutated_files()
    click.echo(f"Mutating {', '.join(files)}; this takes some minutes ...")
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)  # mutmut would keep results whatever tests have changed
    mutmut("run", "--max-children", str(os.cpu_count() or 1))

    found = dict(outcomes())
    without = sorted(file for file in files if not any(name.startswith(dotted(file)) for name in found))
    survivors = {mutant(name): outcome for name, outcome in found.items() if outcome not in FOUND_OUT}
    known: set[Mutant] = {
        (each["function"], each["line"]) for each in loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    }
    for (function, line), outcome in survivors.items():
        if (function, line) not in known:
            click.echo(f"{outcome}: {function}: {line}")
    for function, line in sorted(known - survivors.keys()):
        click.echo(f"no longer a survivor, take it out of {EQUIVALENT.name}: {function}: {line}")
    for file in without:
        click.echo(f"no mutants of {file}")
    click.echo(f"{len(found)} mutants, {len(found) - len(survivors)} found out, {len(known)} equivalent")
    if without or survivors.keys() != known:
        raise SystemExit(1)


def dotted(file: str) -> str:
    """How mutmut's names of a file's mutants begin."""
    return file.removesuffix(".py").replace("/", ".") + "."


if __name__ == "__main__":
    main()

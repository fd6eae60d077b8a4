"""The generated part of docs/performance.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.results import Results
from bench.sheets import Sheet, heading, sheets

BEGIN, END = "<!-- begin: python -m bench --write-docs -->", "<!-- end -->"


def block(results: Results) -> str:
    """All results, as Markdown."""
    return "\n".join(_lines(results)) + "\n"


def spliced(document: str, results: Results) -> str:
    """The document with the block between its markers replaced. Raises `ValueError` if they are missing."""
    before, begin, rest = document.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (begin and end):
        raise ValueError(f"The document lacks the markers {BEGIN!r} and {END!r}, each on a line of its own.")
    return before + begin + "\n" + block(results) + "\n" + end + after


def _lines(results: Results) -> Iterator[str]:
    yield f"{heading(results.setting)}; measured in {results.seconds / 60:.0f} minutes."
    packages = ", ".join(f"{name} {version}" for name, version in results.setting.packages.items())
    yield f"{results.setting.system}; {packages}."
    for sheet in sheets(results):
        yield ""
        yield f"### {sheet.title}"
        yield ""
        yield from _table(sheet)
    for failure in results.failures:
        yield ""
        yield f"Not measured: {failure.splitlines()[0]}"


def _table(sheet: Sheet) -> Iterator[str]:
    yield _row(text.replace("\n", " ") for text in sheet.headings)
    yield _row("---" if number < sheet.labels else "--:" for number, _ in enumerate(sheet.headings))
    yield from map(_row, sheet.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

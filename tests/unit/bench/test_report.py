"""The output: tables on a terminal and in Markdown, the chart, the JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import chart, markdown, plan, table
from bench import results as results_module
from bench.sheets import heading, load_cells, sheets
from local.services import ROOT
from tests.unit.bench.samples import SETTING, START, alone, operations, results, row

MEASURED = results(
    row(plan.PUSH, plan.BURST_3K, dispatcher=1.0, sender=2.0),
    row(plan.PULL, plan.BURST_3K, dispatcher=1.0, sender=0.5),
    alone(plan.NAIVE, 9.0),
    operations=(operations(plan.PUSH, 200),),
    failure="operations, pull: it ended\nwith many lines",
    starts=(START,),
)


def test_a_row_is_per_mail() -> None:
    assert load_cells(row(plan.PUSH, plan.BURST_3K, dispatcher=1.0, sender=2.0)) == (
        "push", "burst 3k", "200", "20 / 50 / 80", "25 / 55 / 1,234", "1.00", "2.00", "5.0", "110 (+5)", "110 (+5)",
        "10", "2.00",
    )  # fmt: skip


def test_starts_are_in_milliseconds() -> None:
    [shown] = [sheet for sheet in sheets(MEASURED) if sheet.title == "Cold starts"]
    assert [*shown.rows[0]] == ["push", "sender", "10", "500 / 600 / 700", "800 / 900 / 1,000", "450 / 500 / 500"]


def test_missing_measurements_are_a_dash() -> None:
    cells = load_cells(alone(plan.NAIVE, 9.0))
    assert [cells[place] for place in (3, 4, 5, 8, 10, 11)] == ["–"] * 6


def test_a_row_says_so_when_mails_are_missing() -> None:
    assert "only 900 SUCCESS" in load_cells(replace(row(), succeeded=900))[1]


def test_every_row_of_a_sheet_has_a_cell_for_each_heading() -> None:
    for sheet in sheets(MEASURED):
        assert {len(cells) for cells in sheet.rows} == {len(sheet.headings)}


@pytest.mark.parametrize(("backend", "said"), [("google", "Google's emulators"), ("embedded", "EMBEDDED backend")])
def test_the_heading_describes_the_machine(backend: str, said: str) -> None:
    assert said in heading(replace(SETTING, backend=backend))


def test_a_pipe_gets_the_whole_table_in_plain_text() -> None:
    console = Console(width=220, no_color=True)
    with console.capture() as captured:
        table.show(console, MEASURED)
    text = captured.get()
    assert "\x1b" not in text
    assert "20 / 50 / 80" in text
    assert "not measured" in text
    assert "operations, pull" in text


def test_markdown_has_every_sheet_and_the_first_line_of_a_failure() -> None:
    text = markdown.block(MEASURED)
    assert all(f"### {sheet.title}" in text for sheet in sheets(MEASURED))
    assert "| push | burst 3k | 200 |" in text
    assert "Not measured: operations, pull: it ended\n" in text
    assert "with many lines" not in text


def test_only_the_text_between_the_markers_is_replaced() -> None:
    document = f"before\n{markdown.BEGIN}\nold\n{markdown.END}\nafter\n"
    once = markdown.spliced(document, MEASURED)
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "\nold\n" not in once
    assert markdown.spliced(once, MEASURED) == once


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        markdown.spliced("nothing\n", MEASURED)


def test_results_survive_their_json(tmp_path: Path) -> None:
    path = tmp_path / "somewhere" / "results.json"
    results_module.save(MEASURED, path)
    again = results_module.load(path)
    assert markdown.block(again) == markdown.block(MEASURED)
    assert chart.svg(again) == chart.svg(MEASURED)


def test_bars_are_as_long_as_their_figures() -> None:
    drawing = ElementTree.fromstring(chart.svg(MEASURED))  # noqa: S314 - our own
    bars = [each for each in drawing.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "24"]
    widths = [float(bar.get("width", "")) for bar in bars]
    push_dispatcher, push_sender, pull_dispatcher, pull_sender, _, naive = widths
    assert push_sender == pytest.approx(2 * push_dispatcher, abs=0.2)
    assert pull_dispatcher == push_dispatcher
    assert naive == pytest.approx(9 * push_dispatcher, abs=1)
    assert pull_sender == pytest.approx(push_dispatcher / 2, abs=0.2)


def test_the_documentation_shows_what_its_json_says() -> None:
    document = ROOT / "docs" / "performance.md"
    measured = results_module.load(document.with_suffix(".json"))
    text = document.read_text()
    assert markdown.spliced(text, measured) == text, (
        "renew it with: python -m bench --from docs/performance.json --write-docs"
    )
    assert document.with_suffix(".svg").read_text() == chart.svg(measured)

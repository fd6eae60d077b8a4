"""Our figures beside Trigger Email's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import plan
from bench.extension import beside
from tests.unit.bench.samples import results, row


@pytest.mark.parametrize(
    ("load", "mode", "figure", "expected"),
    [
        (plan.SINGLE, plan.PUSH, "write → accept, p50, ms", (20.0, None, 82.1, 82.1)),
        (plan.BURST_1K, plan.PULL, "CPU per mail, ms", (None, 3.0, None, 15.9)),
        (plan.BURST_3K, plan.PUSH, "memory, MB", (220.0, None, None, 250)),
        (plan.BURST_1K, plan.PUSH_50_MS, "mails/s", (200.0, None, 2.4, 48.7)),
        (plan.BURST_1K, plan.PUSH_300_MS, "mails/s", (200.0, None, None, 20.8)),
    ],
    ids=str,
)
def test_a_figure_stands_beside_that_of_the_same_load(
    load: plan.Load, mode: plan.Mode, figure: str, expected: tuple[float | None, ...]
) -> None:
    [found] = [each for each in beside(results(row(mode, load))) if each.figure == figure]
    assert found.values == pytest.approx(expected)


def test_a_load_that_was_not_measured_here_is_left_out() -> None:
    assert beside(results(replace(row(), load="another"))) == []

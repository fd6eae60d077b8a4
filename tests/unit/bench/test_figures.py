"""Percentiles, memory, and figures per mail."""

from __future__ import annotations

import pytest

from bench import plan
from bench.figures import Memory, Quantiles, quantile
from tests.unit.bench.samples import alone, row


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([7], 0.5, 7, id="one value is every quantile"),
        pytest.param([1, 2], 0.5, 1, id="half of two is the first"),
        pytest.param([1, 2, 3], 0.5, 2, id="half of three is the middle one"),
        pytest.param(range(1, 101), 0.99, 99, id="99 of a hundred"),
        pytest.param(range(1, 101), 0.95, 95, id="95 of a hundred"),
        pytest.param(range(1, 11), 0.95, 10, id="95 % of ten needs all ten"),
        pytest.param(range(1, 11), 0.0, 1, id="nothing is not before the first"),
    ],
)
def test_a_quantile_is_the_smallest_value_that_covers_the_share(
    values: range | list[int], share: float, expected: int
) -> None:
    assert quantile(list(values), share) == expected


def test_quantiles_do_not_depend_on_the_order() -> None:
    assert Quantiles.of([3.0, 1.0, 2.0]) == Quantiles(2.0, 3.0, 3.0)


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        Quantiles.of([])


def test_memory_keeps_the_halves_apart() -> None:
    memory = Memory.of([10, 15, 12, 19, 11])
    assert memory == Memory(before=10, early_peak=15, late_peak=19, after=11)
    assert memory.peak == 19


def test_cpu_and_rate_are_per_mail() -> None:
    measured = row(load=plan.BURST_3K, dispatcher=1.5, sender=2.5)
    assert (measured.dispatcher_ms, measured.sender_ms, measured.both_ms) == pytest.approx((1.5, 2.5, 4.0))
    assert measured.rate == pytest.approx(200)


def test_a_sender_without_a_dispatcher_has_no_sum() -> None:
    assert alone(plan.NAIVE, 9.0).both_ms is None

"""Targets and changes are calculated only from measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import plan
from bench.figures import Cost, Memory, Quantiles, Reference
from bench.micro import OUR_MIME, STANDARD_MIME
from bench.optimisations import changes
from bench.results import Results
from bench.targets import Target, targets
from tests.unit.bench.samples import STEADY_MEMORY, alone, operations, results, row


def target(measured: Results, name: str) -> Target:
    [found] = [each for each in targets(measured) if each.name == name]
    return found


GROWING = Cost(1.0, Memory(before=100, early_peak=100, late_peak=150, after=150))
FLOOR = replace(row(plan.FLOOR, plan.SINGLE), to_accept=Quantiles(0.010, 0.1, 0.1), to_success=None)


@pytest.mark.parametrize(
    ("measured", "name", "reached", "verdict"),
    [
        pytest.param(
            results(row(load=plan.BURST_1K, sender=9.0), row(load=plan.BURST_3K, dispatcher=1.0, sender=1.5)),
            "CPU per mail, both services, push", 2.5, "met", id="the largest burst counts",
        ),
        pytest.param(
            results(row(load=plan.BURST_3K), row(load=plan.LARGE_5K, sender=9.0)),
            "CPU per mail, both services, push", 3.0, "met", id="large mails don't count",
        ),
        pytest.param(
            results(row(plan.PULL, dispatcher=1.0, sender=1.0)),
            "CPU per mail, both services, pull", 2.0, "missed", id="too much CPU",
        ),
        pytest.param(
            results(row(dispatcher=1.6)), "CPU per event, dispatcher", 0.4, "met", id="four events a mail",
        ),
        pytest.param(
            results(alone(plan.PUSH, 2.0), alone(plan.NAIVE, 10.0)),
            "CPU per mail, sender against naive sender", 0.2, "met", id="against the naive sender",
        ),
        pytest.param(
            results(alone(plan.PUSH, 2.0)), "CPU per mail, sender against naive sender", None, "not measured",
            id="nothing to compare with",
        ),
        pytest.param(
            results(row(load=plan.BURST_1K), row(load=plan.BURST_10K, sender=2.6)),
            "CPU per mail of 10,000 against 1,000, push", 1.2, "missed", id="cost that grows",
        ),
        pytest.param(results(row()), "SMTP connections, 1,000 mails", 10, "met", id="as many as the pool has"),
        pytest.param(
            results(operations=(operations(plan.PUSH, calls=100),)),
            "Firestore calls per mail, push", 0.1, "met", id="calls of both services",
        ),
        pytest.param(
            results(operations=(operations(plan.PULL, calls=100, reads=1100),)),
            "Firestore documents read per mail, pull", 1.1, "missed", id="a document read too often",
        ),
        pytest.param(
            results(row(load=plan.SINGLE), FLOOR),
            "write → SMTP accept, p50, against empty handlers", 2.0, "missed", id="slower than the emulators alone",
        ),
        pytest.param(
            results(replace(row(load=plan.LARGE_5K), sender=GROWING)),
            "memory in the second half of 5,000 mails of 20 kB, against the first", 1.5, "missed", id="memory grows",
        ),
        pytest.param(
            results(replace(row(load=plan.LARGE_5K), sender=Cost(1.0, STEADY_MEMORY))),
            "memory in the second half of 5,000 mails of 20 kB, against the first", 1.0, "met", id="memory is flat",
        ),
    ],
)  # fmt: skip
def test_a_target(measured: Results, name: str, reached: float | None, verdict: str) -> None:
    found = target(measured, name)
    assert found.reached == (None if reached is None else pytest.approx(reached))
    assert found.verdict == verdict


def test_a_target_without_measurements_is_not_met() -> None:
    assert {each.verdict for each in targets(results())} == {"not measured"}


def test_an_optimisation_needs_both_sides() -> None:
    assert changes(results(row(plan.PUSH), operations=(operations(plan.PUSH, 100),))) == []


def test_optimisations_compare_the_same_load() -> None:
    unbatched = row(plan.UNBATCHED, plan.BURST_1K)
    assert changes(results(unbatched, row(plan.PUSH, plan.BURST_3K))) == []


def test_optimisations_compare_the_largest_burst_that_both_were_measured_under() -> None:
    measured = results(
        *(row(plan.UNBATCHED, load) for load in (plan.BURST_1K, plan.BURST_3K)),
        *(row(plan.PUSH, load) for load in (plan.BURST_1K, plan.BURST_3K, plan.BURST_10K)),
    )
    assert [each.figure for each in changes(measured)] == ["CPU ms per mail, burst 3k", "mails/s, burst 3k"]


def test_the_effect_of_optimisations() -> None:
    measured = results(
        row(plan.UNBATCHED, sender=7.0),
        row(plan.PUSH, sender=3.0),
        row(plan.PULL, sender=1.5),
        references=(Reference(STANDARD_MIME, 2000, "µs"), Reference(OUR_MIME, 100, "µs")),
    )
    factors = {each.figure: round(each.factor, 3) for each in changes(measured)}
    assert factors == {
        "CPU ms per mail, burst 1k": 0.5,
        "mails/s, burst 1k": 1.0,
        "sender's CPU ms per mail, burst 1k": 0.5,
        "CPU µs": 0.05,
    }

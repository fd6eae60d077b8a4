"""Faults in the form of command-line options."""

from __future__ import annotations

from contextlib import suppress

import pytest

from local.backends.embedded import Faults, fault_flags
from local.backends.embedded.failure import Failure
from local.backends.embedded.faults import Plan


def applied(*specs: str) -> Faults:
    faults = Faults()
    fault_flags.apply(faults, specs, seed=7)
    return faults


@pytest.mark.parametrize(
    ("spec", "plan"),
    [
        pytest.param("events:duplicate", Plan(copies=2), id="duplicate"),
        pytest.param("events:drop", Plan(lost=True), id="drop"),
        pytest.param("events:delay=2.5", Plan(wait=2.5), id="delay"),
        pytest.param("events:duplicate@0", Plan(), id="never"),
    ],
)
def test_deliveries_are_hit(spec: str, plan: Plan) -> None:
    faults = applied(spec)
    assert faults.events.plan() == plan
    assert faults.pushes.plan() == Plan()


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        pytest.param("Commit:lose-response", "Commit: response lost", id="lost-response"),
        pytest.param("Commit:fail=aborted", "Commit: ABORTED", id="status"),
        pytest.param("*:fail", "Commit: UNAVAILABLE", id="every-rpc"),
        pytest.param("*:delay=0.001", "Commit: delayed", id="slow"),
    ],
)
def test_calls_are_hit(spec: str, count: str) -> None:
    faults = applied(spec)
    with suppress(Failure), faults.around("Commit"):
        pass
    assert faults.counts == {count: 1}


def test_a_share_is_kept_and_repeatable() -> None:
    def hits() -> int:
        faults = applied("pushes:duplicate@0.25")
        return sum(faults.pushes.plan().copies == 2 for _ in range(1000))

    assert hits() == hits()
    assert 200 < hits() < 300


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "events",
        "events:explode",
        "Commit:fail=SOMETHING",
        "Commit:burn",
        "events:delay",
        "events:delay=x",
        "Commit:fail@2x",
    ],
)
def test_malformed_times_are_refused_with_an_example(spec: str) -> None:
    with pytest.raises(ValueError, match="expected TARGET:WHAT"):
        applied(spec)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("Comit:fail=ABORTED", "there is no RPC Comit; did you mean Commit."),
        ("event:drop", "did you mean events"),
        ("Teleport:fail", "there is no RPC Teleport; expected events, pushes,"),
        ("events:drop@2", "expected a share of at most 1"),
    ],
)
def test_what_can_not_be_meant_is_refused(spec: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        applied(spec)


def test_a_fault_can_hit_any_rpc_of_the_backend() -> None:
    assert {"Commit", "BatchWrite", "Listen", "Publish", "StreamingPull", "Acknowledge"} <= fault_flags.rpcs()

"""Each class of hostile input, tried on a few inputs; `make fuzz` tries many."""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import re
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.fuzz import __main__ as job
from tests.fuzz.catalogue import KINDS
from tests.fuzz.kind import Check, Kind, pure, run


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_holds(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    seed = random.randrange(10**9)
    for tally in itertools.islice(run(kind, seed), kind.few):
        assert not tally.failure, f"--only '{kind.name}' --seed {seed + tally.inputs - 1}:\n{tally.failure}"


def small(number: int) -> None:
    assert number < 900, "too large"


def numbers(largest: int) -> Kind:
    return Kind("numbers", "each is small", lambda random: random.randint(0, largest), pure(small))


def test_a_failing_input_ends_the_run_and_comes_again_from_its_seed() -> None:
    *held, failed = run(numbers(1000), 1)
    assert len(held) + 1 == failed.inputs
    assert "too large" in failed.failure
    assert next(run(numbers(1000), failed.inputs)).failure == failed.failure


def test_a_slow_input_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.kind.LONGEST_SECONDS", -1.0)
    assert "It took 0.0 s." in next(run(numbers(10), 1)).failure


def test_what_a_check_needs_is_closed() -> None:
    events = []

    @contextlib.contextmanager
    def checking() -> Iterator[Check]:
        events.append("open")
        yield small
        events.append("closed")

    list(run(Kind("numbers", "small", lambda random: 1000, checking), 1))
    assert events == ["open", "closed"]


@pytest.mark.parametrize(("largest", "code"), [(9, 0), (10**9, 1)])
def test_the_job_prints_a_table_and_fails_if_something_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, largest: int, code: int
) -> None:
    monkeypatch.setattr(job, "KINDS", (numbers(largest),))
    monkeypatch.setattr(job, "file_of", lambda kind: "a/b.py")
    monkeypatch.setattr(logging, "disable", lambda level: None)
    result = CliRunner().invoke(job.main, ["--seconds", "0", "--seed", "3"])
    assert result.exit_code == code
    assert re.search(rf"\| numbers \| 1 \| {code} \| \d+ ms \| each is small \| `a/b.py` \|", result.output)
    assert ("Again: python -m tests.fuzz --only numbers --seed 3 --seconds 0" in result.output) == bool(code)

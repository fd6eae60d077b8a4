"""Tests are independent: a failing test does not affect the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.left_behind.suite import LEAVE
from tests.integration.system import PATIENCE

#: Takes 10 to 20 s: services start again after each thing that was left, and once the whole system does.
pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SUITE = "tests/integration/left_behind/suite.py"


def test_a_test_that_fails_halfway_does_not_affect_others() -> None:
    """It takes 10 s: the suite in a process of its own starts a system twice."""
    in_order = ("-p", "no:randomly", "-p", "no:cacheprovider", "-rA", "--tb=no")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *in_order, SUITE],
        cwd=ROOT, capture_output=True, text=True, timeout=3 * PATIENCE, check=False,
    )  # fmt: skip
    outcomes = [line.split(" - ")[0] for line in ended.stdout.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    expected = [
        f"{outcome} {SUITE}::{test}[{leave.__name__}]"
        for leave in LEAVE
        for outcome, test in (("FAILED", "test_fails_halfway"), ("PASSED", "test_that_follows"))
    ]
    assert sorted(outcomes) == sorted([*expected, f"PASSED {SUITE}::test_that_needs_no_system"]), ended.stdout

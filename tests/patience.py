"""Scales the deadlines of all tests by one factor.

Tests wait for conditions, so a deadline only ends a failed test. On a busy machine, set `TEST_PATIENCE_FACTOR` to a
number above 1.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("TEST_PATIENCE_FACTOR", "1"))


def patience(seconds: float) -> float:
    """The scaled deadline in seconds; on an idle machine, the awaited condition takes far less than `seconds`."""
    return seconds * FACTOR

"""How long tests wait for what must happen: one factor scales every deadline.

Tests wait for conditions; a deadline only ends a wait that has failed. On a machine that is busy with other things, set
`TEST_PATIENCE_FACTOR` to a number above 1.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("TEST_PATIENCE_FACTOR", "1"))


def patience(seconds: float) -> float:
    """The deadline, in seconds, for something that takes far less than `seconds` on a quiet machine."""
    return seconds * FACTOR

"""Waiting for a condition, with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Check `condition` every `pause` seconds; returns whether it became true within `seconds`.

    Exceptions of `condition` are passed on.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True

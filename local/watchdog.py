"""The process that cleans up when the stack could not: it was killed with SIGKILL, or crashed.

It is told on its standard input which process groups live (`+123`) and which have ended (`-123`). When that input
closes, whoever wrote it is gone, and the groups that are left are ended. Linux' PR_SET_PDEATHSIG would not do: it
reaches the launcher script but not the Java process below it, and follows the thread, not the process.

Run as a script of its own, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 3.0


def groups_left(lines: Iterable[str]) -> set[int]:
    """The process groups that were reported to live and not to have ended."""
    groups: set[int] = set()
    for line in lines:
        change, group = line[0], int(line[1:])
        if change == "+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def _signal_all(groups: set[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)


def main() -> None:
    """Wait until the stack is gone, then end what it left."""
    groups = groups_left(sys.stdin)
    if groups:
        _signal_all(groups, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        _signal_all(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()

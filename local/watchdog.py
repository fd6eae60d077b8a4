"""The process that cleans up if the stack can't: if it crashed, or was killed with SIGKILL.

Its standard input says which process groups run (`+123`) and which have ended (`-123`). When that input closes, the
stack is gone, and the remaining groups are killed. Linux's PR_SET_PDEATHSIG is not enough: it reaches the launcher
script but not the Java process below it, and follows the thread, not the process.

It runs as a separate script, so it imports only the standard library.
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
    """The process groups that were reported as running and not as ended."""
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
    """Wait until the stack is gone, then kill what is left."""
    groups = groups_left(sys.stdin)
    if groups:
        _signal_all(groups, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        _signal_all(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""How a process starts: it imports what it needs, and says in one line if a setting is wrong.

Most of a start is importing, so only what is needed for a command is imported, and without the garbage collector.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import Misconfigured

#: The exit code of a process with wrong settings.
EXIT_MISCONFIGURED = 2


@contextmanager
def importing() -> Iterator[None]:
    """Import within the block, without looking for garbage; not again later among what was imported, either.

    Modules stay. To look through them again and again takes a sixteenth of a start, and would later cause pauses.
    https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def start(main: Callable[[], None]) -> None:
    """Run a service's `main`; a wrong setting ends the process with one line instead of a traceback."""
    try:
        main()
    except Misconfigured as error:
        print(f"Firepost can't start: {str(error).rstrip('.')}.", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_MISCONFIGURED)

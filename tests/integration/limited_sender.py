"""`python -m sender push` in a process with little memory, which also downloads from this machine.

Its arguments are the limit in bytes, and the commands of `python -m sender`.
"""

from __future__ import annotations

import resource
import sys

from sender.__main__ import cli
from sender.downloads import guard
from shared import starting


def main() -> None:
    limit = int(sys.argv.pop(1))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    guard.is_public = lambda address: True
    starting.start(cli)


if __name__ == "__main__":
    main()

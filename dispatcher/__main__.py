"""`python -m dispatcher`: serve on PORT until SIGTERM."""

from __future__ import annotations

from functools import partial

from dispatcher.bootstrap import build
from dispatcher.settings import DispatcherSettings
from shared import settings
from shared.http import server
from shared.observability import tracing


def main() -> None:
    """Read the settings and serve."""
    chosen = settings.load(DispatcherSettings)
    tracing.check(chosen.traces)
    server.serve("dispatcher", partial(build, chosen), chosen)


if __name__ == "__main__":
    server.start(main)

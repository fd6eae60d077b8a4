"""`python -m dispatcher`: serve on PORT until SIGTERM."""

from __future__ import annotations

from functools import partial

from dispatcher.bootstrap import build
from dispatcher.settings import DispatcherSettings
from shared import settings, tracing, web


def main() -> None:
    """Read the settings and serve."""
    chosen = settings.load(DispatcherSettings)
    tracing.check(chosen.traces)
    web.serve("dispatcher", partial(build, chosen), chosen)


if __name__ == "__main__":
    web.start(main)

"""`python -m dispatcher`: serve on PORT until SIGTERM."""

from __future__ import annotations

from functools import partial

from shared import starting


def main() -> None:
    """Read the settings and serve."""
    with starting.importing():
        from dispatcher.bootstrap import build
        from dispatcher.settings import DispatcherSettings
        from shared import settings
        from shared.http import server
        from shared.observability import tracing

    chosen = settings.load(DispatcherSettings)
    tracing.check(chosen.traces)
    server.serve("dispatcher", partial(build, chosen), chosen)


if __name__ == "__main__":
    starting.start(main)

"""`python -m dispatcher`: serve on PORT until SIGTERM."""

from __future__ import annotations

from functools import partial

from dispatcher.bootstrap import build
from dispatcher.settings import DispatcherSettings
from shared import settings, tracing, web

#: Cloud Run kills a container ten seconds after SIGTERM.
_GRACE_SECONDS = 9


def main() -> None:
    """Read the settings and serve."""
    chosen = settings.load(DispatcherSettings)
    tracing.check(chosen.traces)
    web.serve(
        "dispatcher",
        partial(build, chosen),
        project=chosen.google_cloud_project,
        port=chosen.port,
        threads=chosen.threads,
        grace_seconds=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    web.start(main)

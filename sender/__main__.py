"""`python -m sender`: the sender's command line."""

from __future__ import annotations

from functools import partial

import click

from sender import bootstrap
from sender.settings import SenderSettings
from shared import settings, web

#: What a container's host leaves for an end after SIGTERM: Cloud Run ten seconds.
_GRACE_SECONDS = 9


@click.group()
def cli() -> None:
    """Sends the mail that Pub/Sub messages ask for.

    Settings are environment variables, read once at the start. Exit codes: 0 stopped by SIGTERM, 2 a setting is
    missing or wrong (one line on standard error names it).
    """


@cli.command()
def push() -> None:
    """Serve the endpoint of a push subscription on PORT."""
    chosen = settings.load(SenderSettings)
    # Checked here, before any process is forked, so that a mistake ends the start with its one line.
    bootstrap.smtp_server(chosen)
    bootstrap.defaults(chosen)
    web.serve(partial(bootstrap.build, chosen), port=chosen.port, threads=chosen.threads, grace_seconds=_GRACE_SECONDS)


if __name__ == "__main__":
    web.start(cli)

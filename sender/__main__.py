"""`python -m sender`: the sender's command line."""

from __future__ import annotations

from functools import partial

import click

from shared import starting
from shared.errors import PullFailed

EXIT_PULL_FAILED = 1


@click.group()
def cli() -> None:
    """Send the mails that Pub/Sub messages ask for.

    Settings are environment variables, read once at startup. Exit codes: 0 stopped by SIGTERM, 2 a setting is missing
    or wrong (one line on standard error names it).
    """


@cli.command()
def push() -> None:
    """Serve the endpoint of a push subscription on PORT."""
    with starting.importing():
        from sender import bootstrap
        from sender.settings import SenderSettings
        from shared import settings
        from shared.http import server
        from shared.observability import tracing

    chosen = settings.load(SenderSettings)
    bootstrap.validate(chosen)
    tracing.check(chosen.traces)
    server.serve("sender", partial(bootstrap.build, chosen.of_one_worker()), chosen)


@cli.command()
def pull() -> None:
    """Pull from the subscription MAIL_SUBSCRIPTION; answer GET /health on PORT.

    Exits with code 1, and one line on standard error, if the subscription does not exist or this service account may
    not pull from it. While Pub/Sub is unreachable, it keeps trying.
    """
    with starting.importing():
        from sender import bootstrap
        from sender.entrypoints.pull import serve
        from sender.settings import PullSettings
        from shared import settings
        from shared.http import server
        from shared.observability import logs, tracing

    chosen = settings.load(PullSettings)
    logs.configure("sender", chosen.google_cloud_project)
    try:
        puller, health, close = bootstrap.build_puller(chosen, tracing.connect("sender", chosen.traces))
        try:
            serve(
                puller,
                address=chosen.address,
                port=chosen.port,
                grace_seconds=server.GRACE_SECONDS,
                health=health,
            )
        finally:
            close()
    except PullFailed as error:
        click.echo(f"Firepost can't go on: {error}", err=True)
        raise SystemExit(EXIT_PULL_FAILED) from error


def _one_address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from sender.document.addresses import BadAddress, mailboxes, parse_addresses

    try:
        [address] = mailboxes(parse_addresses(value))
    except (BadAddress, ValueError):
        raise click.BadParameter("expected one address such as name@example.com.") from None
    return address.email


@cli.command()
@click.option("--send-to", metavar="ADDRESS", callback=_one_address, help="Also send a test mail to this address.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def check(send_to: str | None, as_json: bool) -> None:
    """Try the mail settings: connect, encrypt and log in, without sending mail.

    Prints one line per step; if a step fails, the line says what to change. Only the mail settings are read. Exit
    codes: 0 success, 1 a step failed, 2 a setting is missing or wrong.

    \b
    Examples:
      python -m sender check
      python -m sender check --send-to you@example.com
    """
    from sender import check as checks

    raise SystemExit(checks.run(send_to, checks.print_json if as_json else checks.print_line))


if __name__ == "__main__":
    starting.start(cli)

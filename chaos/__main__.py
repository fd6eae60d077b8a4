"""`python -m chaos`: the command line of the chaos run."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType

import click

from chaos.report import conclude, new_console, progress_on
from chaos.run import Chosen, run
from local.errors import CannotStart, PartFailed
from local.services import SUBSCRIPTION_TYPES
from shared.delivery.policy import LeaseExpiryPolicy

EXIT_BOOKS_DIFFER, EXIT_CANNOT_RUN = 1, 3


@click.command(
    epilog="Exit codes: 0 all agrees, and ended in time; 1 not so; 2 wrong usage; 3 the system did not start."
)
@click.option("--mails", type=click.IntRange(min=10), default=5000, show_default=True, help="The number of mails.")
@click.option("--seed", type=int, default=1, show_default=True, help="Determines the faults.")
@click.option(
    "--policy",
    type=click.Choice([each.value for each in LeaseExpiryPolicy]),
    help="LEASE_EXPIRY_POLICY; by default `retry`, or `error` with one attempt.",
)
@click.option("--attempts", type=click.IntRange(1, 100), default=4, show_default=True, help="MAX_ATTEMPTS.")
@click.option(
    "--sender", type=click.Choice(SUBSCRIPTION_TYPES), default="push", show_default=True, help="The subscription type."
)
def main(mails: int, seed: int, policy: str | None, attempts: int, sender: str) -> None:
    """Send mails through the whole system while everything that can fail does; then compare the books.

    Needs only this machine, and sends nothing anywhere.
    """
    default = LeaseExpiryPolicy.RETRY if attempts > 1 else LeaseExpiryPolicy.ERROR
    chosen = Chosen(mails, seed, LeaseExpiryPolicy(policy) if policy else default, attempts, sender)
    if chosen.policy is LeaseExpiryPolicy.RETRY and attempts == 1:
        raise click.UsageError("--policy retry needs --attempts of at least 2.")
    logging.basicConfig(level=logging.CRITICAL)  # failures here are deliberate
    signal.signal(signal.SIGTERM, _stop)
    console = new_console()
    try:
        with progress_on(console, mails) as show:
            outcome = run(chosen, show)
    except (CannotStart, PartFailed) as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CANNOT_RUN)
    conclude(console, outcome)
    sys.exit(0 if outcome.good else EXIT_BOOKS_DIFFER)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

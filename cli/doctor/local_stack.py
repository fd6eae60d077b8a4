"""What there is to check of a local stack: the services' health, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import click
import requests

from cli.doctor import watching
from cli.doctor.examination import CHECKS
from cli.doctor.finding import Fault, Finding, judged, skipped, unknown
from cli.subscription import browsing
from cli.target import Target
from cli.topics import open_dead_letters

HEALTH_SECONDS: Final = 5.0
#: Dead letters that are counted at most.
MOST_LETTERS: Final = 1000


def examine_local(target: Target) -> Iterator[Finding]:
    """The checks of `examine`, as far as there is something to check without Google Cloud."""
    for check in CHECKS:
        if check in target.services:
            yield _health(check, target.services[check])
        elif check == "dead-letters":
            yield _pulled_letters(target)
        else:
            yield skipped(check, "not on the local stack")


def _health(service: str, address: str) -> Finding:
    try:
        status = requests.get(f"{address.rstrip('/')}/health", timeout=HEALTH_SECONDS).status_code
    except requests.RequestException as error:
        return judged(service, [Fault(f"{address} can't be reached ({type(error).__name__})", "see its log")], "")
    faults = [] if status == 200 else [Fault(f"{address}/health answers {status}", "see its log")]
    return judged(service, faults, f"{address} is healthy")


def _pulled_letters(target: Target) -> Finding:
    try:
        with open_dead_letters(target) as subscription, browsing(subscription) as browser:
            number = sum(1 for _ in islice(browser, MOST_LETTERS))
    except click.ClickException as error:
        return unknown("dead-letters", error.message)
    return watching.pulled_letters(number, target.dead_letters)

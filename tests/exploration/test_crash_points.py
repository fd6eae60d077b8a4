"""The tables in docs/reliability.md, row by row."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from shared.delivery.policy import LeaseExpiryPolicy, Policy
from tests.assembly import LEASE
from tests.exploration import reconciling
from tests.exploration.crash_points import CRASH_POINTS, Moment, Place, Trap, plainly
from tests.exploration.mutations import MUTATIONS
from tests.exploration.scenarios import LARGE, SMALL

_DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of the tables below a heading, without the tables' heads."""
    _, _, section = _DOCUMENT.read_text().partition(f"\n## {heading}\n")
    tables = re.findall(r"^\|[-|]+\|\n((?:\|.+\|\n)+)", section.partition("\n## ")[0], re.MULTILINE)
    lines = "".join(tables).splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def policy(lease_expiry: LeaseExpiryPolicy, max_attempts: int) -> Policy:
    return Policy(LEASE, max_attempts, lease_expiry, stranded_after=timedelta(days=20_000))


TABLE = rows("How each crash ends")


def test_the_table_has_every_crash_point() -> None:
    assert [point for point, *_ in TABLE] == list(CRASH_POINTS)


@pytest.mark.parametrize(("point", "end"), [pytest.param(row[0], row[1], id=row[0]) for row in TABLE])
def test_a_crash_ends_as_the_table_says_by_default(point: str, end: str) -> None:
    assert CRASH_POINTS[point].end_under(policy(LeaseExpiryPolicy.ERROR, 1)) == end


@pytest.mark.parametrize(("point", "end"), [pytest.param(row[0], row[2], id=row[0]) for row in TABLE])
def test_a_crash_ends_as_the_table_says_if_unsent_mails_are_retried(point: str, end: str) -> None:
    assert CRASH_POINTS[point].end_under(policy(LeaseExpiryPolicy.RETRY_UNSENT, 1)) == end


@pytest.mark.parametrize(("point", "end"), [pytest.param(row[0], row[3], id=row[0]) for row in TABLE])
def test_a_crash_ends_as_the_table_says_if_unknown_outcomes_are_retried(point: str, end: str) -> None:
    assert CRASH_POINTS[point].end_under(policy(LeaseExpiryPolicy.RETRY, 3)) == end


@pytest.mark.parametrize("moment", [Moment.TAKEN, Moment.WRITE])
def test_a_duplicate_after_a_crash_has_the_same_message_id(moment: Moment) -> None:
    place = Place(policy(LeaseExpiryPolicy.RETRY, 3), Trap(moment, 1 if moment is Moment.TAKEN else 3))
    plainly(place)
    assert place.end() == "SUCCESS, 2 mails"
    first, second = (message_from_bytes(mail)["Message-ID"] for _, mail in place.transport.sent)
    assert first == second


def test_the_bounds_of_the_exploration_are_the_documented_ones() -> None:
    documented = {name: int(states.replace(",", "")) for name, states in rows("What is explored")}
    protocol = {name: scenario.states for name, scenario in {**SMALL, **LARGE}.items()}
    runs = {name: worlds for name, (_, _, worlds) in {**reconciling.SMALL, **reconciling.LARGE}.items()}
    assert documented == protocol | runs


def test_the_wrong_rules_are_the_documented_ones() -> None:
    assert [what for (what,) in rows("Why the exploration can be trusted")] == [*MUTATIONS, *reconciling.MUTATIONS]

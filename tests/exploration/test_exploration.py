"""Explores the protocol exhaustively: every interleaving of the steps of dispatcher, reconciler and two senders.

The decisions are Firepost's own. Within a scenario's bounds, events and messages arrive in any order, users interfere
at any moment, and processes die between any two steps. `docs/reliability.md` lists the checks.
"""

from __future__ import annotations

import os

import pytest

from tests.exploration import reconciling
from tests.exploration.explorer import Counterexample
from tests.exploration.mutations import MUTATIONS, Mutation
from tests.exploration.reconciling import Reconciling
from tests.exploration.scenarios import LARGE, SMALL, Scenario

explored = pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in SMALL.items()])


@explored
def test_in_every_reachable_world_the_invariants_hold_and_it_ends_well(scenario: Scenario) -> None:
    found = scenario.explore()
    assert found.states == scenario.states, f"explored {found}; docs/reliability.md has another number"


@pytest.mark.skipif(not os.environ.get("EXPLORE"), reason="takes minutes: run `make explore`")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in LARGE.items()])
def test_the_same_holds_for_more_failures(scenario: Scenario) -> None:
    found = scenario.explore()
    assert found.states == scenario.states, f"explored {found}; docs/reliability.md has another number"


@pytest.mark.parametrize(
    ("documents", "page", "worlds"), [pytest.param(*each, id=name) for name, each in reconciling.SMALL.items()]
)
def test_within_a_bounded_number_of_runs_the_reconciler_acts_on_every_document_that_waits(
    documents: int, page: int, worlds: int
) -> None:
    assert Reconciling(documents, page).run() == worlds, "docs/reliability.md has another number"


@pytest.mark.skipif(not os.environ.get("EXPLORE"), reason="takes longer: run `make explore`")
@pytest.mark.parametrize(
    ("documents", "page", "worlds"), [pytest.param(*each, id=name) for name, each in reconciling.LARGE.items()]
)
def test_the_same_holds_for_smaller_pages(documents: int, page: int, worlds: int) -> None:
    assert Reconciling(documents, page).run() == worlds, "docs/reliability.md has another number"


@pytest.mark.parametrize("database", [pytest.param(each, id=what) for what, each in reconciling.MUTATIONS.items()])
def test_a_wrong_reconciler_is_detected(database: type[reconciling.Documents]) -> None:
    with pytest.raises(Counterexample):
        Reconciling(3, 2, database).run()


@pytest.mark.parametrize(
    ("scenario", "mutation"), [pytest.param(SMALL[name], each, id=what) for what, (name, each) in MUTATIONS.items()]
)
def test_a_wrong_rule_is_detected(scenario: Scenario, mutation: Mutation) -> None:
    """Shows that the checks of the exploration can fail."""
    with pytest.raises(Counterexample):
        scenario.explore(mutation(scenario.rules()))

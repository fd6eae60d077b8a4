"""The protocol, exhaustively: every order in which the steps of dispatcher, reconciler and two senders can come.

The decisions are the real ones. Within a scenario's bounds, nothing is left to chance: events and messages come in any
order, users interfere at any moment, processes die between any two steps. `docs/reliability.md` says what is checked.
"""

from __future__ import annotations

import os

import pytest

from tests.exploration.explorer import Counterexample
from tests.exploration.mutations import MUTATIONS, Mutation
from tests.exploration.scenarios import LARGE, SMALL, Scenario

explored = pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in SMALL.items()])


@explored
def test_in_every_world_that_can_come_about_all_is_well_and_ends_well(scenario: Scenario) -> None:
    found = scenario.explore()
    assert found.states == scenario.states, f"explored {found}; docs/reliability.md says another number"


@pytest.mark.skipif(not os.environ.get("EXPLORE"), reason="takes minutes: run `make explore`")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in LARGE.items()])
def test_the_same_holds_where_more_trouble_meets(scenario: Scenario) -> None:
    found = scenario.explore()
    assert found.states == scenario.states, f"explored {found}; docs/reliability.md says another number"


@pytest.mark.parametrize(
    ("scenario", "mutation"), [pytest.param(SMALL[name], each, id=what) for what, (name, each) in MUTATIONS.items()]
)
def test_a_wrong_rule_is_found_out(scenario: Scenario, mutation: Mutation) -> None:
    """This is what makes the explorer worth trusting."""
    with pytest.raises(Counterexample):
        scenario.explore(mutation(scenario.rules()))

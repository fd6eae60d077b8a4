"""`python -m cli audit` finds each wrong rule in the log of the services that follow it, and nothing in other logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from cli.auditor import Auditor, Finding
from shared.delivery.policy import Policy
from tests.exploration.crash_points import PATH, Place
from tests.exploration.mutations import MUTATIONS, Mutation
from tests.exploration.rules import Rules
from tests.exploration.stories import AGAIN_IF_UNSENT, ONCE, STORIES, TWICE, WHATEVER_HAPPENED, put_into_services, told

POLICIES = {
    "once": ONCE,
    "twice": TWICE,
    "again if unsent": AGAIN_IF_UNSENT,
    "whatever happened": WHATEVER_HAPPENED,
}


def findings(stories: Iterable[Callable[[Place], None]], policy: Policy, documents: bool = True) -> list[Finding]:
    found = []
    for story in stories:
        auditor = Auditor(policy)  # each story is another mail's
        entries, database = told(story, policy)
        assert entries
        found += [auditor.entry(entry, story.__name__) for entry in entries]
        if documents:
            delivery = database.documents[PATH].fields["delivery"]
            found.append(auditor.document(PATH, delivery, story.__name__))
        found += [*auditor.stories()]
    return [each for each in found if each is not None]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("story", STORIES)
def test_nothing_is_found_in_the_logs_and_documents_of_right_services(
    story: Callable[[Place], None], policy: Policy
) -> None:
    assert findings([story], policy) == []


#: Wrong rules that only the exploration finds. The log does not say when a mail was handed over, nor what an attempt
#: would have become without `expiresAt`. A note that a mail is handed over is not logged, and neither is how often an
#: unsent mail was tried.
UNTOLD = {
    "a mail is handed over after it has expired",
    "an expired mail ends although an attempt runs",
    "an expired mail stays queued",
    "another attempt is scheduled for after a mail has expired",
    "an unknown outcome is called expired",
    "a mail is handed over without a look at the lease",
    "a mail is handed over without a note that it is",
    "an unsent mail is not tried again",
}

TOLD = {
    what: (each, AGAIN_IF_UNSENT if "if unsent" in scenario else TWICE)
    for what, (scenario, each) in MUTATIONS.items()
    if what not in UNTOLD
}


@pytest.mark.parametrize(("mutation", "policy"), [pytest.param(*each, id=what) for what, each in TOLD.items()])
def test_each_wrong_rule_is_found_in_the_log_alone(
    mutation: Mutation, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_into_services(mutation(Rules(policy)), monkeypatch)
    assert findings(STORIES, policy, documents=False)

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


#: Wrong rules that only the exploration finds. The log does not say since when a mail waits for a server, nor what a
#: first transport has answered, nor whether mail was paused.
UNTOLD = {
    "a mail whose outcome is unknown goes through another transport",
    "an outage is a failed attempt",
    "a mail waits for a server for longer than its patience",
    "a mail that has ended still waits for a server",
    "a mail is claimed while all mail is paused",
}
TOLD = {what: each for what, each in MUTATIONS.items() if what not in UNTOLD}


@pytest.mark.parametrize(("scenario", "mutation"), TOLD.values(), ids=TOLD)
def test_each_wrong_rule_is_found_in_the_log_alone(
    scenario: str, mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = AGAIN_IF_UNSENT if "if unsent" in scenario else TWICE
    put_into_services(mutation(Rules(policy)), monkeypatch)
    assert findings(STORIES, policy, documents=False)

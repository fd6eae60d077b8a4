"""`python -m cli audit` finds each wrong rule in the log of the services that follow it, and nothing in other logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from cli.auditor import Auditor, Finding
from shared.delivery.policy import Policy
from tests.exploration.crash_points import PATH, Place
from tests.exploration.mutations import MUTATIONS
from tests.exploration.rules import Rules
from tests.exploration.stories import AGAIN_IF_UNSENT, ONCE, STORIES, TWICE, WHATEVER_HAPPENED, put_into_services, told

POLICIES = {
    "once": ONCE,
    "twice": TWICE,
    "again if unsent": AGAIN_IF_UNSENT,
    "whatever happened": WHATEVER_HAPPENED,
}


def findings(stories: Iterable[Callable[[Place], None]], policy: Policy, documents: bool = True) -> Iterator[Finding]:
    for story in stories:
        auditor = Auditor(policy)  # each story is another mail's
        entries, database = told(story, policy)
        assert entries
        found = [auditor.entry(entry, story.__name__) for entry in entries]
        if documents:
            delivery = database.documents[PATH].fields["delivery"]
            found.append(auditor.document(PATH, delivery, story.__name__))
        yield from (each for each in (*found, *auditor.stories()) if each is not None)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("story", STORIES)
def test_nothing_is_found_in_the_logs_and_documents_of_right_services(
    story: Callable[[Place], None], policy: Policy
) -> None:
    assert [*findings([story], policy)] == []


#: Wrong rules that only the exploration finds. The log does not say whether mail was paused. It says what a first
#: transport has answered if that leads to another one, which an unknown outcome can't in the services' own class.
UNTOLD = {
    "a mail whose outcome is unknown goes through another transport",
    "a mail is claimed while all mail is paused",
}
#: Those that only documents tell: a mail that its user has called ended while it waits looks the same in the log.
LEFT = {"a mail that has ended still waits for a server"}
TOLD = {what: each for what, each in MUTATIONS.items() if what not in UNTOLD | LEFT}


def found_under(what: str, monkeypatch: pytest.MonkeyPatch, documents: bool) -> Iterator[Finding]:
    """What is found after services have followed this wrong rule, story by story."""
    scenario, mutation = MUTATIONS[what]
    policy = AGAIN_IF_UNSENT if "if unsent" in scenario else TWICE
    put_into_services(mutation(Rules(policy)), monkeypatch)
    return findings(STORIES, policy, documents)


@pytest.mark.parametrize("what", TOLD)
def test_each_wrong_rule_is_found_in_the_log_alone(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(found_under(what, monkeypatch, documents=False))


@pytest.mark.parametrize("what", LEFT)
def test_what_the_log_does_not_tell_is_found_in_documents(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(found_under(what, monkeypatch, documents=True))

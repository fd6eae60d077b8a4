"""The permissions of Google's own accounts and of the callers. Without them, nothing is delivered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.doctor import questions
from cli.doctor.answers import APPLY, Answer, Question, items, last_part, text, texts
from cli.doctor.finding import Fault, Finding, judged, unknown
from cli.doctor.installation import Installation

PUBLISHER = "roles/pubsub.publisher"
SUBSCRIBER = "roles/pubsub.subscriber"
TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"  # noqa: S105
INVOKER = "roles/run.invoker"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a member (an e-mail address) needs on a resource; `policy` asks for the resource's."""

    role: str
    member: str
    resource: str
    policy: Question


def agent(project: Answer, service: str) -> str | None:
    """The address of Google's own account for `pubsub` or `eventarc` in a project; None if it is not known."""
    number = last_part(text(project.data, "name"))
    return f"service-{number}@gcp-sa-{service}.iam.gserviceaccount.com" if number else None


def of_pubsub(names: Installation, pubsub: str, events_subscription: str | None) -> list[Grant]:
    """Pub/Sub's agent moves dead letters from subscriptions to topics, and signs the tokens of pushes."""
    grants = [
        Grant(PUBLISHER, pubsub, topic, questions.topic_policy(names, topic))
        for topic in (names.dead_letter_topic, names.dead_event_topic)
    ]
    grants += [
        Grant(SUBSCRIBER, pubsub, each, questions.subscription_policy(names, each))
        for each in (names.mail_subscription, events_subscription)
        if each
    ]
    accounts = [names.account(purpose) for purpose in ("events", "push")]
    return grants + [Grant(TOKEN_CREATOR, pubsub, each, questions.account_policy(names, each)) for each in accounts]


def of_callers(names: Installation, eventarc: str | None) -> list[Grant]:
    """Who calls the services, and Eventarc's agent, which sets the trigger up."""
    on_project, on_dispatcher = questions.project_policy(names), questions.service_policy(names, names.dispatcher)
    grants = [
        Grant(INVOKER, names.account(purpose), names.dispatcher, on_dispatcher)
        for purpose in ("events", "push", "scheduler")
    ]
    if not names.pulls:
        grants.append(
            Grant(INVOKER, names.account("push"), names.sender, questions.service_policy(names, names.sender))
        )
    grants.append(Grant("roles/eventarc.eventReceiver", names.account("events"), "the project", on_project))
    if eventarc:
        grants.append(Grant("roles/eventarc.serviceAgent", eventarc, "the project", on_project))
    return grants


def granted(
    check: str, grants: Sequence[Grant], policies: Mapping[Question, Answer], on_project: Answer, unclear: str = ""
) -> Finding:
    """Whether all grants are made, on the resource itself or on the whole project.

    `policies` has the answer to each grant's question. `unclear`: what is not among the grants, and why.
    """
    faults, doubts = [], [unclear] if unclear else []
    for grant in grants:
        policy = policies[grant.policy]
        if _has(grant, (policy.data or {}, on_project.data or {})):
            continue
        if policy.unclear or on_project.unclear:
            doubts.append(f"policy of {grant.resource}: {policy.unclear or on_project.unclear}")
        elif policy.data is None:
            faults.append(Fault(f"{grant.resource} does not exist", APPLY))
        else:
            faults.append(Fault(f"{grant.member} has not {grant.role} on {grant.resource}", APPLY))
    if doubts and not faults:
        return unknown(check, "; ".join(dict.fromkeys(doubts)))
    return judged(check, faults, f"{len(grants)} roles are granted")


def _has(grant: Grant, policies: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        text(binding, "role") == grant.role and f"serviceAccount:{grant.member}" in texts(binding, "members")
        for policy in policies
        for binding in items(policy, "bindings")
    )

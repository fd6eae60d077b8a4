"""Which questions to ask about an installation, and what the answers say. All I/O is in the `Ask` that is passed in.

Some questions follow from answers: the trigger names its subscription, the sender its secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from cli.doctor import database, permissions, questions, services, subscriptions, watching
from cli.doctor.answers import Answer, Ask, last_part, text
from cli.doctor.finding import Finding, unknown
from cli.doctor.installation import Installation
from cli.doctor.subscriptions import KEEP_EVENTS, Expected, Push
from shared.delivery.lanes import DEFAULT_LANE, Lanes

#: The checks of `examine`, in its order. After the subscriptions, each lane has two more of its own.
CHECKS: Final = (
    "apis",
    "trigger",
    "events-subscription",
    "mail-subscription",
    "dead-letters-recorded",
    "dead-letters-kept",
    "dead-events-kept",
    "pubsub-agent",
    "callers",
    "dispatcher",
    "sender",
    "secrets",
    "scheduler",
    "database",
    "indexes",
    "ttl",
    "alerts",
    "backlog",
    "events-backlog",
    "dead-letters",
    "dead-events",
)


def examine(names: Installation, ask: Ask, now: datetime) -> Iterator[Finding]:
    """One finding per hop, in the order in which a mail passes them."""
    yield services.apis(ask(questions.apis(names)))
    dispatcher = ask(questions.service(names, names.dispatcher))
    sender, *others = [
        ask((questions.worker_pool if names.pulls else questions.service)(names, each))
        for each in (names.sender, *(f"{names.sender}-{lane}" for lane in names.lanes or ()))
    ]
    lanes = dict(zip(names.lanes or (), others, strict=True))
    trigger = ask(questions.trigger(names))
    events = last_part(text(trigger.data, "transport", "pubsub", "subscription"))
    yield subscriptions.trigger(names, trigger)
    yield from _subscriptions(names, ask, services.addresses(dispatcher), services.addresses(sender), events)
    yield from _lanes(names, ask, lanes)
    yield from _permissions(names, ask, events)
    yield services.revision("dispatcher", names.dispatcher, dispatcher)
    yield services.revision("sender", names.sender, sender)
    secrets = services.secret_references(sender)
    yield services.secrets(secrets, [ask(questions.secret_version(names, *each)) for each in secrets.values()], sender)
    job = ask(questions.scheduler_job(names))
    yield services.scheduler(names, job, services.addresses(dispatcher), now)
    yield database.kind(names, ask(questions.database(names)))
    fields = ask(questions.fields(names))
    yield database.indexes(names, fields)
    yield database.time_to_live(names, fields, dispatcher)
    yield watching.alerts(names, ask(questions.alert_policies(names)) if names.is_watched else Answer(None))
    yield from _waiting(names, ask, events, now)


def _subscriptions(
    names: Installation, ask: Ask, dispatcher: frozenset[str], sender: frozenset[str], events: str
) -> Iterator[Finding]:
    push = names.account("push")
    to_sender = None if names.pulls else Push(sender, "/", push)
    expected: list[tuple[str, str, Expected]] = [
        (
            "mail-subscription",
            names.mail_subscription,
            Expected(to_sender, names.dead_letter_topic, 7, filter=_filter(names, DEFAULT_LANE)),
        ),
        (
            "dead-letters-recorded",
            f"{names.dead_letter_topic}-documents",
            Expected(Push(dispatcher, "/dead-letters", push), None, 1),
        ),
        ("dead-letters-kept", f"{names.dead_letter_topic}-pull", Expected(None, None, 1)),
        (
            "dead-events-kept",
            f"{names.dead_event_topic}-pull",
            Expected(None, None, 1, remedy="docs/operating.md#events-failing, step 3"),
        ),
    ]
    if events:
        to_dispatcher = Push(dispatcher, "/", names.account("events"))
        expected.insert(
            0, ("events-subscription", events, Expected(to_dispatcher, names.dead_event_topic, 7, KEEP_EVENTS))
        )
    else:
        yield unknown("events-subscription", "can't tell which without the trigger")
    for check, name, each in expected:
        yield subscriptions.subscription(check, name, each, ask(questions.subscription(names, name)))


def _lanes(names: Installation, ask: Ask, senders: Mapping[str, Answer]) -> Iterator[Finding]:
    """The subscription and the sender of each lane but the default one."""
    for lane, sender in senders.items():
        push = None if names.pulls else Push(services.addresses(sender), "/", names.account("push"))
        expected = Expected(push, names.dead_letter_topic, 7, filter=_filter(names, lane))
        name = f"{names.mail_subscription}-{lane}"
        found = ask(questions.subscription(names, name))
        yield subscriptions.subscription(f"lane {lane}", name, expected, found)
        yield services.revision(f"lane {lane}", f"{names.sender}-{lane}", sender)


def _filter(names: Installation, lane: str) -> str | None:
    return None if names.lanes is None else Lanes(dict.fromkeys(names.lanes, frozenset())).filter_of(lane)


def _permissions(names: Installation, ask: Ask, events: str) -> Iterator[Finding]:
    project, on_project = ask(questions.project(names)), ask(questions.project_policy(names))
    pubsub, eventarc = permissions.agent(project, "pubsub"), permissions.agent(project, "eventarc")
    unclear = f"the project's number: {project.unclear}" if project.unclear else ""

    def finding(check: str, grants: Sequence[permissions.Grant]) -> Finding:
        policies = {question: ask(question) for question in dict.fromkeys(grant.policy for grant in grants)}
        return permissions.granted(check, grants, policies, on_project, unclear)

    yield finding("pubsub-agent", permissions.of_pubsub(names, pubsub, events) if pubsub else [])
    yield finding("callers", permissions.of_callers(names, eventarc))


def _waiting(names: Installation, ask: Ask, events: str, now: datetime) -> Iterator[Finding]:
    def figures(subscription: str, metric: str) -> Answer:
        return ask(questions.figures(names, subscription, metric, now))

    for check, subscription, runbook in (
        ("backlog", names.mail_subscription, "backlog-age"),
        ("events-backlog", events, "events-failing"),
    ):
        if subscription:
            yield watching.backlog(check, subscription, figures(subscription, "oldest_unacked_message_age"), runbook)
    for check, topic, remedy in (
        ("dead-letters", names.dead_letter_topic, "python -m cli dead-letters list"),
        ("dead-events", names.dead_event_topic, "docs/operating.md#events-failing"),
    ):
        subscription = f"{topic}-pull"
        yield watching.dead_letters(check, subscription, figures(subscription, "num_undelivered_messages"), remedy)

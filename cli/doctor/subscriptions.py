"""The trigger, and the subscriptions of Pub/Sub that deliver events, messages and dead letters. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cli.doctor.answers import APPLY, Answer, items, judge, last_part, mapping, moment, number, text
from cli.doctor.finding import Fault, Finding
from cli.doctor.installation import Installation

EVENT_TYPE = "google.cloud.firestore.document.v1.written"
#: https://cloud.google.com/eventarc/docs/run/route-trigger-cloud-firestore: a new trigger delivers after this time.
TRIGGER_STARTS = timedelta(minutes=2)

DAY = 86400
KEEP_EVENTS = "run the output keep_events_command (docs/deploying.md, step 5)"


@dataclass(frozen=True, slots=True)
class Push:
    """Where a subscription should push to: a path of any of these addresses, with a token of this account.

    `addresses` is empty if they are not known. Then only the account is checked.
    """

    addresses: frozenset[str]
    path: str
    account: str


@dataclass(frozen=True, slots=True)
class Expected:
    """How a subscription should be. `push` None: it is pulled. `dead_letters`: the topic's id, or None for none.

    `filter`: that of its lane, or None if it may have any.
    """

    push: Push | None
    dead_letters: str | None
    kept_days: int
    remedy: str = APPLY
    filter: str | None = None


def trigger(names: Installation, answer: Answer) -> Finding:
    """Whether the trigger works, and sends the events of this collection to the dispatcher."""
    subscription = last_part(text(answer.data, "transport", "pubsub", "subscription"))

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        return [*_failed(data), *_filters(names, data), *_destination(names, data)]

    detail = f"events of {names.collection} go to {names.dispatcher} by {subscription}"
    return judge("trigger", answer, last_part(names.trigger), faults, detail)


def starts(answer: Answer) -> datetime | None:
    """When a trigger surely delivers events; None if that is not known."""
    created = moment(answer.data, "createTime")
    return created + TRIGGER_STARTS if created else None


def _failed(trigger: Mapping[str, Any]) -> Iterator[Fault]:
    """`conditions` are the reasons for which a trigger is in the state FAILED."""
    for name, condition in mapping(trigger, "conditions").items():
        said = text(condition, "message") or text(condition, "code")
        yield Fault(f"it has failed: {name}" + (f" ({said})" if said else ""), "mend the cause, then terraform apply")


def _filters(names: Installation, trigger: Mapping[str, Any]) -> Iterator[Fault]:
    found = {text(each, "attribute"): text(each, "value") for each in items(trigger, "eventFilters")}
    parent, _, variable = found.get("document", "").rpartition("/")
    expected = {"type": EVENT_TYPE, "database": names.database}
    wrong = [name for name, value in expected.items() if found.get(name) != value]
    if parent != names.collection or not variable.startswith("{"):
        wrong.append("document")
    for name in wrong:
        yield Fault(f"its filter for {name} is {found.get(name) or 'missing'}", f"{APPLY} (this replaces the trigger)")


def _destination(names: Installation, trigger: Mapping[str, Any]) -> Iterator[Fault]:
    service = last_part(text(trigger, "destination", "cloudRun", "service"))
    if service != names.dispatcher:
        yield Fault(f"it sends events to {service or 'nothing'}, not to {names.dispatcher}", APPLY)
    if last_part(text(trigger, "serviceAccount")) != names.account("events"):
        yield Fault(f"it does not call as {names.account('events')}", APPLY)


def subscription(check: str, name: str, expected: Expected, answer: Answer) -> Finding:
    """Whether a subscription works, keeps messages long enough, and delivers to whom it should."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        return [*_health(data), *_selection(expected, data), *_delivery(expected, data), *_keeping(expected, data)]

    to = "is pulled" if expected.push is None else "pushes"
    kept = number(answer.data, "messageRetentionDuration") or 0
    return judge(check, answer, name, faults, f"{name} {to}, and keeps messages for {kept / DAY:.0f} days")


def _health(data: Mapping[str, Any]) -> Iterator[Fault]:
    state = text(data, "state")
    if state not in ("ACTIVE", ""):
        yield Fault(f"its state is {state}", APPLY)
    if data.get("detached") is True or text(data, "topic") == "_deleted-topic_":
        yield Fault("it has lost its topic, and gets no messages any more", f"delete it, then {APPLY}")


def _selection(expected: Expected, data: Mapping[str, Any]) -> Iterator[Fault]:
    found = text(data, "filter")
    if expected.filter is not None and found != expected.filter:
        yield Fault(
            f"its filter is {found or 'missing'}, not {expected.filter or 'none'}",
            f"{APPLY} (this replaces the subscription: docs/lanes.md#deploy-them)",
        )


def _delivery(expected: Expected, data: Mapping[str, Any]) -> Iterator[Fault]:
    endpoint = text(data, "pushConfig", "pushEndpoint")
    push = expected.push
    if push is None:
        if endpoint:
            yield Fault(f"it pushes to {endpoint} instead of being pulled", expected.remedy)
        return
    if not endpoint:
        yield Fault("it has no push endpoint: everything waits", f"{APPLY} (docs/operating.md#stop-all-mail)")
        return
    target, path = endpoint.partition("?")[0].rstrip("/"), push.path.rstrip("/")
    audience, account = (text(data, "pushConfig", "oidcToken", key) for key in ("audience", "serviceAccountEmail"))
    if push.addresses and target not in {f"{address}{path}" for address in push.addresses}:
        yield Fault(f"it pushes to {endpoint}", APPLY)
    if push.addresses and audience.rstrip("/") not in push.addresses:
        yield Fault(f"the audience of its tokens is {audience or 'missing'}", APPLY)
    if account != push.account:
        yield Fault(f"its tokens are those of {account or 'nobody'}, not of {push.account}", APPLY)


def _keeping(expected: Expected, data: Mapping[str, Any]) -> Iterator[Fault]:
    kept = number(data, "messageRetentionDuration") or 0
    if kept < expected.kept_days * DAY:
        yield Fault(f"it keeps messages for {kept / DAY:.1f} days, not for {expected.kept_days}", expected.remedy)
    topic = last_part(text(data, "deadLetterPolicy", "deadLetterTopic"))
    if expected.dead_letters and topic != expected.dead_letters:
        yield Fault(
            f"what it gives up goes to {topic or 'no dead-letter topic'}, not to {expected.dead_letters}",
            expected.remedy,
        )

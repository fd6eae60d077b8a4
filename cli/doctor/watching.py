"""Alerts, and what waits: the mail's backlog, and dead letters of messages and events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.doctor.answers import APPLY, Answer, items, judge, number, text, texts
from cli.doctor.finding import Fault, Finding, judged, skipped
from cli.doctor.installation import Installation

#: Seconds that the oldest message or event may wait: where the alerts ring by default.
LONGEST_WAIT = 300


def alerts(names: Installation, answer: Answer) -> Finding:
    """Whether the module's alert policies are there and enabled."""
    if not names.is_watched:
        return skipped("alerts", "modules/monitoring is not used")
    own = [
        each for each in items(answer.data, "alertPolicies") if text(each, "displayName").startswith(f"{names.name}: ")
    ]
    channels = {channel for each in own for channel in texts(each, "notificationChannels")}

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        if not own:
            return [Fault(f"no alert policy is called '{names.name}: …'", APPLY)]
        disabled = [text(each, "displayName") for each in own if each.get("enabled") is False]
        return [Fault(f"disabled: {', '.join(disabled)}", "enable them in Cloud Monitoring")] if disabled else []

    told = f"they notify {len(channels)} channels" if channels else "they notify nobody (notification_channels)"
    return judge("alerts", answer, "the project", faults, f"{len(own)} are enabled; {told}")


def backlog(check: str, subscription: str, answer: Answer, runbook: str) -> Finding:
    """Whether the oldest message of a subscription waits too long. `answer`: its oldest_unacked_message_age."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        age = _newest(data)
        if age is None or age <= LONGEST_WAIT:
            return []
        return [
            Fault(f"the oldest message of {subscription} has waited for {age:.0f} s", f"docs/operating.md#{runbook}")
        ]

    age = _newest(answer.data or {})
    detail = f"the oldest message has waited for {age:.0f} s" if age is not None else "Monitoring has no figure yet"
    return judge(check, answer, subscription, faults, detail)


def dead_letters(check: str, subscription: str, answer: Answer, remedy: str) -> Finding:
    """Whether dead letters wait. `answer`: the subscription's num_undelivered_messages."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        return waiting_letters(int(_newest(data) or 0), subscription, remedy)

    detail = "none" if _newest(answer.data or {}) is not None else "Monitoring has no figure yet"
    return judge(check, answer, subscription, faults, detail)


def waiting_letters(number: int, subscription: str, remedy: str) -> list[Fault]:
    """The fault that dead letters wait, unless there are none."""
    return [Fault(f"{number:,} wait in {subscription}", remedy)] if number else []


def pulled_letters(number: int, subscription: str) -> Finding:
    """The finding about dead letters that were counted by pulling them."""
    return judged("dead-letters", waiting_letters(number, subscription, "python -m cli dead-letters list"), "none")


def _newest(data: Mapping[str, Any]) -> float | None:
    """The newest figure of all series: points come newest first; 64-bit integers are texts."""
    found = []
    for series in items(data, "timeSeries"):
        for point in items(series, "points")[:1]:
            value = number(point, "value", "int64Value")
            found.append(number(point, "value", "doubleValue") if value is None else value)
    return max((each for each in found if each is not None), default=None)

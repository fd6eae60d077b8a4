"""The mail server is away while thousands of mails are queued: each waits for it, and none fails."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from local.waiting import wait_until
from shared.observability.events import Event
from tests.integration.system import Configuration, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

#: Several pages of the reconciler, and many times the mails that may try at a time.
MAILS = 2_000
MESSAGE = {"subject": "s", "text": "t"}


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return Configuration(
        reconcile_seconds=1.0,
        settings={"RETRY_FIRST_SECONDS": "5", "RETRY_LONGEST_SECONDS": "20"},
    )


def entries(system: System, event: Event) -> list[dict[str, Any]]:
    text = (system.stack.logs / "sender.log").read_text()
    found = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [entry for entry in found if entry.get("event") == event]


def states(system: System) -> Counter[tuple[Any, ...]]:
    snapshots = system.firestore.collection("mail").select(["delivery.state", "delivery.attempts"]).stream()
    return Counter(
        (delivery.get("state"), delivery.get("attempts"))
        for each in snapshots
        if (delivery := (each.to_dict() or {}).get("delivery", {})) is not None
    )


def test_a_backlog_outlives_an_outage(system: System) -> None:
    """It takes 45 s: two thousand mails are queued, put off, and sent one probe after the other at first."""
    server = system.server
    server.when("CONNECT").drop()
    for first in range(0, MAILS, 500):
        batch = system.firestore.batch()
        for number in range(first, first + 500):
            batch.set(system.firestore.document(f"mail/{number}"), {"to": f"{number}@example.com", "message": MESSAGE})
        batch.commit()
    # Each look reads all: so a few looks per second.
    assert wait_until(lambda: len(entries(system, Event.DEFERRAL)) >= MAILS, patience(120), pause=0.5), "some wait"
    assert set(states(system)) <= {("PENDING", 0), ("PROCESSING", 1)}
    tried = len(server.sessions)
    server.forget_rules()
    wait_for(lambda: len(server.accepted) >= MAILS, "all mails are sent", patience(120), lambda: states(system))
    assert wait_until(lambda: states(system) == {("SUCCESS", 1): MAILS}, patience(60), pause=0.5), states(system)
    assert len(server.accepted) == MAILS
    assert tried < 60, "each mail has tried to connect"

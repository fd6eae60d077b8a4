"""Calling off many mails: those in a range of time, after confirmation if they are many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cli.set_state import ASK_ABOVE
from tests.unit.cli.conftest import Store


def queued(age: timedelta) -> dict[str, Any]:
    return {"delivery": {"state": "PENDING", "startTime": datetime.now(UTC) - age}}


def test_only_those_in_the_range_of_time_are_set_and_counted(store: Store) -> None:
    old = {f"mail/old-{number}": queued(timedelta(days=2)) for number in range(ASK_ABOVE)}
    store.write({**old, "mail/new-1": queued(timedelta(minutes=1)), "mail/new-2": queued(timedelta(minutes=1))})
    refused = store.run("cancel", "--state", "PENDING")
    assert (refused.exit_code, f"{ASK_ABOVE + 2} mails would be set to CANCELLED" in refused.stderr) == (2, True)
    result = store.run("cancel", "--state", "PENDING", "--since", "1h")
    assert (result.exit_code, result.stdout) == (0, "mail/new-1  set\nmail/new-2  set\n")
    assert [name for name, state in store.states().items() if state == "CANCELLED"] == ["new-1", "new-2"]

"""The move from the extension with a long history, on Google's emulators: nothing of it changes, nothing is sent twice.

The page's own commands are played as in `test_migrating`. How long each has taken is logged (`--log-cli-level=INFO`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from shared.delivery.model import State
from shared.firestore.client import connect_firestore
from shared.firestore.database import MAX_WRITES, FirestoreDatabase, Version, Write
from tests.integration.backends import needs_google
from tests.integration.system import Fields, running, wait_for
from tests.integration.test_migrating import BECOMES, CONFIGURATION, ENDED, MESSAGE, Migration, begin, expected, queued
from tests.patience import patience

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("history")]

_log = logging.getLogger(__name__)

#: How many mails the old system has worked off, or ignored, before the switch.
HISTORY: Final = 10_000

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def migration(tmp_path: Path) -> Iterator[Migration]:
    """In a system of its own: thousands of documents are not undone."""
    with running("google", CONFIGURATION) as system:
        yield begin(system, "extension", tmp_path)


def past(number: int) -> Fields:
    """A mail of the history, as the extension leaves it: one of a hundred an ERROR, one without anything to send."""
    address, at = f"history-{number}@example.com", START + timedelta(minutes=number)
    mail: Fields = {"to": address, "message": MESSAGE}
    delivery: Fields = {"startTime": at, "endTime": at, "attempts": 1, "leaseExpireTime": None, "error": None}
    info = {"messageId": f"<{number}@old>", "accepted": [address], "rejected": [], "pending": [], "response": "250 OK"}
    match number % 100:
        case 0:
            return {"to": address, "note": "nothing to send"}
        case 1:
            return {**mail, "delivery": {**delivery, "state": "ERROR", "error": "Error: Invalid login: 535"}}
    return {**mail, "delivery": {**delivery, "state": "SUCCESS", "info": info}}


class Timed(dict[str, float]):
    """The seconds that each command has taken, by the command."""

    def watch(self, move: Migration) -> None:
        run = move.run

        def timed(command: str, code: int = 0) -> str:
            began = time.monotonic()
            try:
                return run(command, code)
            finally:
                self[command] = self.get(command, 0.0) + time.monotonic() - began

        move.run = timed  # type: ignore[method-assign]

    def __str__(self) -> str:
        lines = [f"{seconds:6.1f} s  {command}" for command, seconds in self.items()]
        return "\n".join([*lines, f"{sum(self.values()):6.1f} s  in all"])


def write_history(move: Migration) -> None:
    connection = connect_firestore(move.system.stack.ready["firestore"])
    with closing(connection):
        database = FirestoreDatabase(connection, move.system.stack.options.project, "(default)")
        for first in range(0, HISTORY, MAX_WRITES):
            numbers = range(first, min(first + MAX_WRITES, HISTORY))
            outcomes = database.write([Write(f"mail/history-{number:05}", past(number), None) for number in numbers])
            assert {type(outcome) for outcome in outcomes} == {Version}


def versions(move: Migration) -> dict[str, Any]:
    """When each document of the history was last written."""
    found = move.system.firestore.collection("mail").select(["to"]).stream()
    return {each.id: each.update_time for each in found if each.id.startswith("history-")}


@pytest.mark.timeout(patience(300))  # `check-documents` and `adopt` read every mail, in pages
@needs_google
def test_ten_thousand_mails_of_history_stay_as_they_are(migration: Migration) -> None:
    """It takes 20 s and more: it writes the history, and commands read all of it several times."""
    took = Timed()
    took.watch(migration)
    migration.patience = patience(200)  # for `check-documents --all`
    migration.leave()
    write_history(migration)
    before, leftovers = versions(migration), migration.contents()
    assert len(before) == HISTORY

    migration.play("Set up")
    migration.play("Check", {"check-documents": 1})
    migration.play("Switch")
    migration.system.firestore.document(migration.documents["edited after the switch, and without `delivery`"]).update(
        {"note": "edited"}
    )
    migration.write("filled in two steps after the switch", message=None)

    kinds = [kind for row in BECOMES for kind in (ENDED if row == ", ".join(ENDED) else (row,))]
    assert set(kinds) == set(migration.documents), "each row of the page has a document, and each document a row"
    for kind in kinds:
        if state := expected(kind):
            migration.reached(kind, state)
        else:
            assert migration.contents()[kind] == leftovers[kind], kind
    wait_for(lambda: not queued(migration.run("python -m cli counts")), "nothing is queued")

    assert versions(migration) == before
    sent_by_old = {"`SUCCESS`"}
    arrived = {kind for kind in kinds if expected(kind) == State.SUCCESS} | sent_by_old
    assert {kind: migration.sent(kind) for kind in kinds} == {kind: int(kind in arrived) for kind in kinds}
    received = Counter(address for mail in migration.system.server.accepted for address in mail.recipients)
    assert not [address for address in received if address.startswith("history-")]
    assert [address for address, number in received.items() if number > 1] == ["you@example.com"]
    _log.info("the page's commands, with %d mails of history:\n%s", HISTORY, took)

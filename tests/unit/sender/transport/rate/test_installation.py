"""The limits of an installation, whose shares stand in Firestore."""

from __future__ import annotations

import time

from sender.transport.rate.installation import InstallationRates
from tests.fakes import MemoryDatabase

PATH = "mail-firepost/rate-billing"


def rates(database: MemoryDatabase, process: str, tenant_limit: float | None = None) -> InstallationRates:
    return InstallationRates(database, "mail", process, bool(tenant_limit), tenant_limit)


def test_processes_share_the_rate_of_a_transport() -> None:
    database, now = MemoryDatabase(), time.monotonic()
    first, second = (rates(database, process)("billing", 5.0) for process in ("a", "b"))
    assert first and first.turn(now, 2.0).granted
    assert second and not second.turn(now, 2.0).granted, "the first one has all of it"
    entries = database.documents[PATH].fields["limits"]["all"]
    assert {process: share["mails"] for process, share in entries.items()} == {"a": 5, "b": 0}


def test_at_the_end_all_shares_are_free() -> None:
    database = MemoryDatabase()
    made = rates(database, "a")
    limit = made("billing", 5.0)
    assert limit and limit.turn(time.monotonic(), 2.0).granted
    made.close()
    assert database.documents[PATH].fields["limits"]["all"]["a"]["mails"] == 0


def test_without_a_limit_there_is_no_document() -> None:
    assert rates(MemoryDatabase(), "a")("billing", None) is None


def test_tenants_may_have_a_limit_where_the_transport_has_none() -> None:
    limit = rates(MemoryDatabase(), "a", tenant_limit=1.0)("billing", None)
    assert limit
    now = time.monotonic()
    turns = [limit.turn(now, 1.0, tenant) for tenant in ("x", "x", "y")]
    assert [turn.granted for turn in turns] == [True, False, False]
    assert turns[2].soon, "its share comes with the next renewal"

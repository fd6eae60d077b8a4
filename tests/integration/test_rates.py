"""Tenants share the rate of an installation. On one backend: what differs between them is tested without rates."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from tests.integration.system import Configuration, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

RATE, MANY, FEW = 5, 60, 4


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module", params=["push", "pull"])
def configuration(request: pytest.FixtureRequest) -> Configuration:
    settings = {"SMTP_RATE_PER_SECOND": str(RATE), "TENANT_FIELD": "customer"}
    return Configuration(reconcile_seconds=5.0, sender=request.param, settings=settings)


def write(system: System, customer: str, mails: int) -> Callable[[], list[dict[str, Any]]]:
    """Write mails of a customer at once; returns a function that reads their deliveries."""
    documents = [system.firestore.document(f"mail/{customer}-{number}") for number in range(mails)]
    batch = system.firestore.batch()
    for document in documents:
        fields = {"to": f"{document.id}@example.com", "customer": customer, "message": {"subject": "s", "text": "t"}}
        batch.set(document, fields)
    batch.commit()
    return lambda: [(each.to_dict() or {}).get("delivery", {}) for each in system.firestore.get_all(documents)]


def test_a_customer_with_a_few_mails_does_not_wait_for_one_with_many(system: System) -> None:
    """It takes ten seconds, because that is how long a rate takes that a loaded machine reaches, too."""
    many = write(system, "many", MANY)
    wait_for(lambda: all("state" in delivery for delivery in many()), "all of them are queued")
    before = len(system.server.accepted)
    few = write(system, "few", FEW)
    wait_for(lambda: len(system.server.accepted) == MANY + FEW, "all are sent", patience(MANY / RATE * 4))
    order = [mail.recipients[0].partition("-")[0] for mail in system.server.accepted[before:]]
    places = [place for place, customer in enumerate(order) if customer == "few"]
    assert median(places) < MANY // 2, f"not behind all the others: {places}"  # on a busy machine, one comes late

    def ended() -> list[dict[str, Any]] | None:
        found = many() + few()
        return found if all(delivery["state"] == "SUCCESS" for delivery in found) else None

    assert {delivery["attempts"] for delivery in wait_for(ended, "all documents say so")} == {1}

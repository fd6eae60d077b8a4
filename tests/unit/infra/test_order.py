"""Terraform's order of operations, where it matters and its own tests can't see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.infra.module import CORE, MONITORING, definitions

DEFINITIONS = {module: definitions(module) for module in (CORE, MONITORING)}
#: After what the APIs can be used. Whatever modules/monitoring makes of the other's resources comes later than these.
USABLE = {CORE: "time_sleep.apis", MONITORING: "var.resources"}
#: What this itself waits for.
BEFORE = {"google_project_service.this", "google_project_service_identity.this", "time_sleep.apis"}


def waits_for(what: str, name: str, texts: Mapping[str, str], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a resource or local value refers to `what`, itself or by others."""
    text = texts.get(name, "")
    if what in text:
        return True
    others = set(re.findall(r"\b(?:google|time)_\w+\.\w+|\blocal\.\w+", text)) - seen - {name}
    return any(waits_for(what, each, texts, seen | {name}) for each in others)


@pytest.mark.parametrize(
    ("module", "resource"),
    [
        pytest.param(module, name, id=name)
        for module, texts in DEFINITIONS.items()
        for name in texts
        if not name.startswith("local.") and name not in BEFORE
    ],
)
def test_a_resource_is_made_after_its_api_can_be_used(module: Path, resource: str) -> None:
    assert waits_for(USABLE[module], resource, DEFINITIONS[module])


@pytest.mark.parametrize("kind", ["google_compute_subnetwork", "google_compute_router_nat"])
def test_the_nat_is_destroyed_after_the_sender(kind: str) -> None:
    assert "create_before_destroy = true" in DEFINITIONS[CORE][f"{kind}.egress"]


@pytest.mark.parametrize("kind", ["google_cloud_run_v2_service", "google_cloud_run_v2_worker_pool"])
def test_the_sender_starts_after_its_nat(kind: str) -> None:
    depends_on = re.search(r"depends_on = \[(.*?)\]", DEFINITIONS[CORE][f"{kind}.sender"], re.DOTALL)
    assert depends_on is not None
    assert "google_compute_router_nat.egress" in depends_on.group(1)


def test_a_lane_has_a_subscription_before_the_dispatcher_publishes_into_it() -> None:
    definition = DEFINITIONS[CORE]["google_cloud_run_v2_service.dispatcher"]
    assert waits_for("google_pubsub_subscription.mail", "dispatcher", {"dispatcher": definition})

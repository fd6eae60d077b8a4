"""Terraform's order of operations, where it matters and its own tests can't see it."""

from __future__ import annotations

import re

import pytest

from tests.unit.infra.module import source


def resource(file: str, kind: str, name: str) -> str:
    block = re.search(rf'^resource "{kind}" "{name}" {{\n(.*?)^}}$', source(file), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block.group(1)


@pytest.mark.parametrize("kind", ["google_compute_subnetwork", "google_compute_router_nat"])
def test_the_nat_is_destroyed_after_the_sender(kind: str) -> None:
    assert "create_before_destroy = true" in resource("network.tf", kind, "egress")


@pytest.mark.parametrize(
    ("file", "kind"),
    [("sender.tf", "google_cloud_run_v2_service"), ("worker_pool.tf", "google_cloud_run_v2_worker_pool")],
)
def test_the_sender_starts_after_its_nat(file: str, kind: str) -> None:
    waits_for = re.search(r"depends_on = \[(.*?)\]", resource(file, kind, "sender"), re.DOTALL)
    assert waits_for is not None
    assert "google_compute_router_nat.egress" in waits_for.group(1)

"""Access: no broad roles, and none missing from the table in docs/security.md."""

from __future__ import annotations

import re

import pytest

from tests.unit.infra.module import ROOT, sources

TEXT = sources()
SECURITY = (ROOT / "docs" / "security.md").read_text()

#: All granted roles; each on one topic, subscription, secret, service, account, key or bucket, except the last four.
ROLES = {
    "roles/cloudkms.cryptoKeyEncrypterDecrypter",
    "roles/iam.serviceAccountTokenCreator",
    "roles/pubsub.publisher",
    "roles/pubsub.subscriber",
    "roles/run.invoker",
    "roles/secretmanager.secretAccessor",
    "roles/storage.objectViewer",
    "roles/cloudtrace.agent",
    "roles/eventarc.eventReceiver",
    "roles/eventarc.publisher",
    "roles/eventarc.serviceAgent",
}


def test_no_other_roles_are_granted() -> None:
    assert set(re.findall(r"roles/[A-Za-z.]+", TEXT)) == ROLES


def test_on_the_whole_project_only_events_traces_and_our_own_role() -> None:
    blocks = re.findall(r'^resource "google_project_iam_member" "\w+" \{\n(.*?)^\}', TEXT, re.MULTILINE | re.DOTALL)
    granted = {re.search(r"role += (\S+)", block).group(1) for block in blocks}  # type: ignore[union-attr]
    assert granted == {
        '"roles/cloudtrace.agent"',
        '"roles/eventarc.eventReceiver"',
        '"roles/eventarc.publisher"',
        '"roles/eventarc.serviceAgent"',
        "google_project_iam_custom_role.database.id",
    }


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_has_its_reason_in_the_docs(role: str) -> None:
    assert f"`{role}`" in SECURITY


def test_each_permission_of_our_own_role_is_in_the_docs() -> None:
    permissions = set(re.findall(r'"(datastore\.[a-zA-Z.]+)"', TEXT))
    assert permissions
    assert [each for each in permissions if f"`{each}`" not in SECURITY] == []


def test_each_service_account_is_in_the_docs() -> None:
    accounts = re.findall(r'account_id += "\$\{var\.name\}-(\w+)"', TEXT)
    assert len(accounts) == 5
    assert [each for each in accounts if f"`firepost-{each}`" not in SECURITY] == []


@pytest.mark.parametrize(
    "never",
    [
        "allUsers",
        "allAuthenticatedUsers",
        "google_secret_manager_secret_version",  # would put the secret's value into the state
        "secret_data",
        "google_service_account_key",
        "_iam_policy",  # revokes what others were granted
        "_iam_binding",
    ],
)
def test_never(never: str) -> None:
    assert never not in TEXT

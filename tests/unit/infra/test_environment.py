"""The environment that Terraform sets is the one that the services read."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from dispatcher.settings import DispatcherSettings
from sender.settings import GuardSettings, NamedTransport, OAuthSettings, PullSettings
from tests.unit.infra.module import ROOT, default, local, strings, variable_names

ENVIRONMENT = "environment.tf"

#: Not for the operator to choose: Cloud Run sets the port and needs all addresses; emulators are for the local stack.
NOT_OFFERED = {"LISTEN_ADDRESS", "PORT", "FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"} | {
    "CLOUD_EVENTARC_EMULATOR_HOST"
}


def names(*kinds: type[BaseSettings]) -> set[str]:
    fields = {name.upper() for kind in kinds for name in kind.model_fields}
    return fields - {"OAUTH", "GUARD"}  # contain OAuthSettings and GuardSettings, and are not variables


def secret_names(*kinds: type[BaseSettings]) -> set[str]:
    fields = {name.upper(): field.annotation for kind in kinds for name, field in kind.model_fields.items()}
    return {name for name, annotation in fields.items() if SecretStr.__name__ in str(annotation)}


def set_by(block: str) -> set[str]:
    return variable_names(local(block, "lanes.tf" if block == "lane_environments" else ENVIRONMENT))


DISPATCHER = names(DispatcherSettings)
SENDER = names(PullSettings, OAuthSettings, GuardSettings)  # PullSettings extends SenderSettings
PLAIN = set(strings(local("plain_settings", ENVIRONMENT)))
SECRET = set(strings(local("secret_settings", ENVIRONMENT)))
TYPED = set[str]().union(
    *map(set_by, ["common_environment", "dispatcher_environment", "sender_environment", "push_environment"]),
    set_by("pull_environment"),
    set_by("lane_environments"),
)


@pytest.mark.parametrize(
    ("block", "known"),
    [
        pytest.param("common_environment", DISPATCHER & SENDER, id="both"),
        pytest.param("dispatcher_environment", DISPATCHER, id="dispatcher"),
        pytest.param("sender_environment", SENDER, id="sender"),
        pytest.param("push_environment", SENDER, id="sender-push"),
        pytest.param("pull_environment", SENDER, id="sender-pull"),
        pytest.param("lane_environments", SENDER, id="sender-of-a-lane"),
    ],
)
def test_each_variable_that_is_set_is_a_setting_of_the_service(block: str, known: set[str]) -> None:
    found = set_by(block)
    assert found
    assert found <= known


def test_traces_are_recorded_with_settings_of_both_services_and_opentelemetrys() -> None:
    found = variable_names(local("traces_environment", "collector.tf"))
    assert {name for name in found if not name.startswith("OTEL_")} <= DISPATCHER & SENDER
    assert found - DISPATCHER == {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"}


def test_each_setting_can_be_given() -> None:
    assert DISPATCHER | SENDER <= TYPED | PLAIN | SECRET | NOT_OFFERED


def test_every_accepted_variable_is_a_setting() -> None:
    assert PLAIN | SECRET <= DISPATCHER | SENDER


def test_each_setting_is_given_in_one_way_only() -> None:
    assert not TYPED & PLAIN
    assert not TYPED & SECRET
    assert not PLAIN & SECRET


def test_secrets_are_given_as_secrets_only() -> None:
    assert secret_names(PullSettings, OAuthSettings) <= SECRET


def test_a_further_transport_can_have_all_its_settings() -> None:
    assert set(strings(local("transport_settings", ENVIRONMENT))) | SECRET == names(NamedTransport, OAuthSettings)


def test_the_list_of_settings_has_them_all_and_no_others() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([A-Z0-9_]+)`", row)}
    assert listed >= DISPATCHER | SENDER
    assert listed >= TYPED | PLAIN | SECRET


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("mail_collection", "mail_collection"),
        ("lease_seconds", "lease_seconds"),
        ("ack_deadline_seconds", "ack_deadline_seconds"),
        ("max_attempts", "max_attempts"),
        ("lease_expiry_policy", "lease_expiry_policy"),
    ],
)
def test_a_default_is_the_same_in_terraform_and_in_the_code(variable: str, setting: str) -> None:
    assert default(variable) == str(PullSettings.model_fields[setting].default)

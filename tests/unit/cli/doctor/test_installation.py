from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from cli.doctor.installation import Installation, read_outputs
from cli.doctor.questions import APIS
from tests.unit.cli.doctor.apis import NAMES, OUTPUTS
from tests.unit.infra.module import local, source, strings

VALUES: dict[str, Any] = OUTPUTS["firepost"]["value"]


VARIABLES = {
    "var.name": "firepost",
    "local.topics.dead_letters": NAMES.dead_letter_topic,
    "local.topics.dead_events": NAMES.dead_event_topic,
}


def second(name: str) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    values["resources"]["dispatcher"] = f"{name}-dispatcher"
    return values


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(OUTPUTS, id="of-a-root-module-that-calls-it"),
        pytest.param(VALUES, id="of-one-output"),
        pytest.param({key: {"sensitive": False, "value": value} for key, value in VALUES.items()}, id="of-the-module"),
        pytest.param({"all": {"sensitive": False, "value": {"eu": {"firepost": VALUES}}}}, id="nested"),
    ],
)
def test_the_outputs_are_found_wherever_they_are(document: object) -> None:
    outputs = read_outputs(document, None)
    assert outputs.installation == NAMES
    assert (outputs.topic, outputs.dead_letter_subscription) == ("firepost-mail", "firepost-mail-dead-letter-pull")


def test_a_name_chooses_one_of_several_installations() -> None:
    several = {"firepost": {"sensitive": False, "value": {"a": second("a"), "b": second("b")}}}
    assert read_outputs(several, "b").installation.sender == "b-sender"
    for name in (None, "c"):
        with pytest.raises(ValueError, match="describes a, b; choose one with --name"):
            read_outputs(several, name)


@pytest.mark.parametrize("document", [None, [], {}, {"resources": {}}, {"a": 1}])
def test_what_is_no_output_of_the_module_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="must be what 'terraform output -json' prints"):
        read_outputs(document, None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values.pop("region"), "region must be a text, found nothing"),
        (lambda values: values["resources"].update(trigger=None), "trigger must be a text, found nothing"),
        (lambda values: values["resources"].update(scheduler_job=7), "scheduler_job must be a text, found int"),
    ],
)
def test_an_output_of_another_type_is_named(change: Callable[[dict[str, Any]], object], sentence: str) -> None:
    values = copy.deepcopy(VALUES)
    change(values)
    with pytest.raises(ValueError, match=sentence):
        read_outputs(values, None)


def test_it_is_watched_if_there_is_a_dashboard() -> None:
    values = copy.deepcopy(VALUES)
    del values["dashboard"]
    assert NAMES.is_watched
    assert not read_outputs(values, None).installation.is_watched


def test_names_by_options_are_those_of_the_outputs() -> None:
    named = Installation.named("shop-production", "(default)", "mail", "firepost", "europe-west4", "eur3")
    assert named == NAMES
    elsewhere = Installation.named("p", "d", "c", "n", "r", None, "s", pulls=True)
    assert elsewhere.trigger == "projects/p/locations/r/triggers/n-documents"
    assert elsewhere.scheduler_job == "projects/p/locations/s/jobs/n-reconcile"
    assert elsewhere.pulls


def test_indexes_are_for_the_last_part_of_the_collection() -> None:
    assert dataclasses.replace(NAMES, collection="tenants/acme/mail").collection_id == "mail"


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("dispatcher.tf", '"${var.name}-dispatcher"', NAMES.dispatcher),
        ("lanes.tf", '"${var.name}-sender"', NAMES.sender),
        ("lanes.tf", '"${var.name}-mail-sender"', NAMES.mail_subscription),
        ("pubsub.tf", '"${var.name}-mail-dead-letter"', NAMES.dead_letter_topic),
        ("pubsub.tf", '"${local.topics.dead_letters}-documents"', f"{NAMES.dead_letter_topic}-documents"),
        ("pubsub.tf", '"${local.topics.dead_letters}-pull"', f"{NAMES.dead_letter_topic}-pull"),
        ("pubsub.tf", '"${var.name}-document-events-dead-letter"', NAMES.dead_event_topic),
        ("pubsub.tf", '"${local.topics.dead_events}-pull"', f"{NAMES.dead_event_topic}-pull"),
        ("eventarc.tf", '"${var.name}-documents"', NAMES.trigger.rpartition("/")[2]),
        ("scheduler.tf", '"${var.name}-reconcile"', NAMES.scheduler_job.rpartition("/")[2]),
        ("iam.tf", '"${var.name}-events"', NAMES.account("events").partition("@")[0]),
        ("alerts.tf", '"${var.name}: ${each.value.title}"', "firepost: ${each.value.title}"),
    ],
)
def test_the_module_gives_these_names(file: str, text: str, name: str) -> None:
    assert f"= {text}" in source(file)
    for expression, value in VARIABLES.items():
        text = text.replace(f"${{{expression}}}", value)
    assert text == f'"{name}"'


def test_the_module_enables_these_apis() -> None:
    enabled = strings(local("apis", "apis.tf").partition("],")[0])
    assert [name.removesuffix(".googleapis.com") for name in enabled] == list(APIS)

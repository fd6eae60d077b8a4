"""The pipelines: everything they refer to exists, and they do what they promise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.__main__ import cli
from tests.dockerfile import ROOT, Dockerfile

Build = dict[str, Any]
PIPELINES = ("cloudbuild.yaml", "cloudbuild-apply.yaml", "cloudbuild-nightly.yaml")

#: https://cloud.google.com/build/docs/build-config-file-schema
FIELDS = {"steps", "substitutions", "images", "artifacts", "options", "timeout"}
STEP_FIELDS = {"id", "name", "script", "waitFor", "env", "allowFailure"}
#: Set in triggered builds: https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
BUILT_IN = {"PROJECT_ID", "BUILD_ID", "LOCATION", "COMMIT_SHA", "SHORT_SHA"}
#: Has no choice of tags: Google maintains one version of it.
UNTAGGED = {"gcr.io/cloud-builders/docker"}


def load(name: str) -> Build:
    build: Build = yaml.safe_load((ROOT / name).read_text())
    return build


@pytest.fixture(params=PIPELINES)
def build(request: pytest.FixtureRequest) -> Build:
    return load(request.param)


def text_of(build: Build) -> str:
    """All text except the substitutions' defaults, one item per line."""
    return "\n".join(_texts([value for name, value in build.items() if name != "substitutions"]))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            yield from _texts(list(value.values()))
        case list():
            for each in value:
                yield from _texts(each)


def script(build: Build, step: str) -> str:
    text: str = next(each["script"] for each in build["steps"] if each["id"] == step)
    return text


def test_only_fields_that_cloud_build_knows_are_used(build: Build) -> None:
    assert set(build) <= FIELDS
    for step in build["steps"]:
        assert set(step) <= STEP_FIELDS


def test_steps_wait_for_steps_before_them(build: Build) -> None:
    known = {"-"}
    for step in build["steps"]:
        assert {*step.get("waitFor", [])} <= known
        known.add(step["id"])


def test_every_image_has_one_version(build: Build) -> None:
    names = {step["name"] for step in build["steps"]} - UNTAGGED
    assert [name for name in names if not re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(-\w+)?", name)] == []


def test_the_checks_run_on_the_version_that_the_images_have(build: Build) -> None:
    version = re.escape(Dockerfile.read().arguments["PYTHON"].partition("-")[0])
    checks = [step["name"] for step in build["steps"] if "python" in step["name"]]
    assert checks
    assert [name for name in checks if not re.match(rf"{version}-", name)] == []


def test_every_variable_is_set_by_somebody(build: Build) -> None:
    assigned = set(re.findall(r"^\s*(\w+)=|\bfor (\w+) in", text_of(build), re.M))
    used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", text_of(build)))
    assert used - set(chain.from_iterable(assigned)) - BUILT_IN - set(build["substitutions"]) == set()
    assert set(build["substitutions"]) <= used, "a substitution that nothing uses fails the build"


def test_every_command_exists(build: Build) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {word for step in build["steps"] for word in re.findall(r"\bmake ([a-z-]+)", step["script"])} <= targets
    for command, options in re.findall(r"-m cli (\w+) (.*)", text_of(build)):
        called = cli.get_command(click.Context(cli), command)
        assert called is not None
        known = {option for parameter in called.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= known


def test_every_stage_that_is_built_exists() -> None:
    build = load("cloudbuild.yaml")
    assert set(re.findall(r"--target (\w+)", text_of(build))) <= set(Dockerfile.read().stages)
    named = re.search(r"for service in (.*);", script(build, "build"))
    assert named is not None
    assert {*named[1].split()} <= set(Dockerfile.read().stages)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_folders_and_files_it_names_are_there(name: str) -> None:
    build = load(name)
    named = {build["substitutions"]["_ROOT"], *re.findall(r"infra/[\w/]+", text_of(build))}
    assert [path for path in named if not (ROOT / path).exists()] == []
    requirements = build["substitutions"].get("_REQUIREMENTS", "services.txt")
    assert Path(ROOT / "requirements" / requirements).is_file()


def test_what_is_built_is_what_is_planned_and_pushed() -> None:
    build = load("cloudbuild.yaml")
    tag = "$SHORT_SHA-$BUILD_ID"
    repository = "$LOCATION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY"
    assert build["images"] == [f"{repository}/{service}:{tag}" for service in ("dispatcher", "sender")]
    assert f'--tag "{repository}/$service:{tag}"' in script(build, "build")
    assert f'TF_VAR_image_version="{tag}"' in script(build, "plan")


def test_a_plan_accepts_all_variables_of_the_example() -> None:
    example = (ROOT / load("cloudbuild.yaml")["substitutions"]["_ROOT"] / "variables.tf").read_text()
    variables = re.findall(r'^variable "(\w+)"', example, re.M)
    assert variables
    assert [name for name in variables if f"TF_VAR_{name}=" not in script(load("cloudbuild.yaml"), "plan")] == []


def test_the_module_is_tested_as_everywhere_and_with_the_oldest_provider_that_it_allows() -> None:
    build = load("cloudbuild.yaml")
    check = script(build, "test-module")
    assert script(build, "test-module-with-the-oldest-provider") == f"{check} lowest"
    assert (ROOT / check).read_text(encoding="utf-8").startswith("#!/bin/sh\n"), "Terraform's image has no bash"
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "infra/terraform").glob("**/versions.tf")]
    constraints = {each for text in texts for each in re.findall(r'"hashicorp/google\S*"\n +version = (.*)', text)}
    assert constraints == {'">= 6.50, < 8.0"'}, "`check lowest` would not find it"


def test_after_an_apply_events_are_kept_and_nothing_is_left_to_do() -> None:
    steps = [step["id"] for step in load("cloudbuild-apply.yaml")["steps"]]
    assert steps == ["fetch", "apply", "keep-events", "nothing-left", "doctor"]
    root = ROOT / load("cloudbuild-apply.yaml")["substitutions"]["_ROOT"]
    assert 'output "keep_events_command"' in (root / "outputs.tf").read_text()
    assert "output -raw keep_events_command > /workspace/keep-events" in script(load("cloudbuild-apply.yaml"), "apply")
    assert "planned.auto.tfvars.json" in script(load("cloudbuild-apply.yaml"), "keep-events")
    assert "plan -input=false -detailed-exitcode" in script(load("cloudbuild-apply.yaml"), "nothing-left")


def test_images_have_provenance_or_the_build_fails() -> None:
    assert load("cloudbuild.yaml")["options"]["requestedVerifyOption"] == "VERIFIED"


def test_what_is_applied_is_what_was_planned_for_the_commit() -> None:
    plan, apply = load("cloudbuild.yaml"), load("cloudbuild-apply.yaml")
    assert plan["artifacts"]["objects"]["location"] == "gs://$_STATE_BUCKET/plans/$COMMIT_SHA/"
    assert "gs://$_STATE_BUCKET/plans/$COMMIT_SHA/*" in script(apply, "fetch")
    assert "apply -input=false /workspace/plan" in script(apply, "apply")
    assert "apply" not in "".join(step["script"] for step in plan["steps"])


@pytest.mark.parametrize(("name", "step"), [("cloudbuild-apply.yaml", "apply"), ("cloudbuild-nightly.yaml", "apply")])
def test_the_doctor_examines_what_was_applied(name: str, step: str) -> None:
    assert "output -json > /workspace/outputs.json" in script(load(name), step)
    assert "-m cli doctor --terraform /workspace/outputs.json" in script(load(name), "doctor")


def test_after_an_apply_test_mails_are_sent_only_to_a_given_address() -> None:
    apply = load("cloudbuild-apply.yaml")
    assert apply["substitutions"]["_TEST_MAIL_TO"] == ""
    assert '${_TEST_MAIL_TO:+--to "$_TEST_MAIL_TO"}' in script(apply, "doctor")


class TestNightly:
    STEPS = load("cloudbuild-nightly.yaml")["steps"]

    def test_each_step_needs_the_one_before(self) -> None:
        passed = [re.findall(r"^echo (\S+) > /workspace/passed$", step["script"], re.M) for step in self.STEPS[:-1]]
        assert passed == [[step["id"]] for step in self.STEPS[:-1]]
        needed = [re.findall(r"^grep -qx (\S+) /workspace/passed$", step["script"], re.M) for step in self.STEPS[1:]]
        assert needed == passed
        assert all(step["script"].index("grep") < step["script"].index("echo") for step in self.STEPS[1:-1])

    def test_the_project_is_deleted_whatever_failed(self) -> None:
        assert [step["id"] for step in self.STEPS if not step.get("allowFailure")] == ["take-down"]
        lines = self.STEPS[-1]["script"].splitlines()
        assert lines[2] == 'gcloud projects delete "$(cat /workspace/project)" --quiet'
        assert lines[-1].startswith("grep -qx"), "otherwise the build would always succeed"

    def test_only_projects_of_its_own_are_deleted(self) -> None:
        text = self.STEPS[0]["script"]
        assert 'parent.id=$_FOLDER AND labels.firepost=nightly AND createTime<-P1D"' in text
        assert text.index("/workspace/project") < text.index("gcloud projects create"), (
            "or a failed creation can't be cleaned up"
        )
        assert '--folder="$_FOLDER" --labels=firepost=nightly' in text

    def test_it_goes_through_the_life_of_an_installation(self) -> None:
        ids = [step["id"] for step in self.STEPS]
        life = [
            "project",
            "apply",
            "doctor",
            "upgrade",
            "doctor-after-upgrade",
            "destroy",
            "apply-again",
            "doctor-again",
        ]
        assert [each for each in ids if each in life] == life
        upgrade = script(load("cloudbuild-nightly.yaml"), "upgrade")
        first, last = (upgrade.index("-detailed-exitcode"), upgrade.rindex("-detailed-exitcode"))
        assert first < upgrade.index("apply") < last

    def test_it_sets_all_variables_of_the_example_that_have_no_default(self) -> None:
        example = (ROOT / load("cloudbuild-nightly.yaml")["substitutions"]["_ROOT"] / "variables.tf").read_text()
        required = [
            name
            for name, block in re.findall(r'^variable "(\w+)" {\n(.*?)^}', example, re.M | re.S)
            if "default " not in block
        ]
        given = re.findall(r'^(\w+) += "', self.STEPS[0]["script"], re.M)
        assert given == required

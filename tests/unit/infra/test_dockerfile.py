"""Requirements of the images that their Dockerfile can show."""

from __future__ import annotations

import re

import pytest

from tests.dockerfile import ROOT, Dockerfile, context

SERVICES = ("dispatcher", "sender")


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile.read()


@pytest.mark.parametrize("service", SERVICES)
def test_the_process_runs_as_a_numeric_user_and_receives_signals(dockerfile: Dockerfile, service: str) -> None:
    user, entry = dockerfile.setting(service, "USER"), dockerfile.setting(service, "ENTRYPOINT")
    assert user is not None
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.rest), "Kubernetes only accepts a number as a non-root user"
    assert entry is not None
    assert entry.is_exec_form, "a shell in between would not pass on SIGTERM"
    assert entry.words == ["python", "-m", service]


def test_every_stage_begins_with_one_exact_version(dockerfile: Dockerfile) -> None:
    bases = {stage.base for stage in dockerfile.stages.values()} - {*dockerfile.stages}
    assert bases == {"${PYTHON}"}
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+", dockerfile.arguments["PYTHON"])


def test_packages_are_the_locked_ones_and_none_is_compiled_here(dockerfile: Dockerfile) -> None:
    (install,) = [run.rest for run in dockerfile.stages["packages"].all("RUN") if "pip" in run.words]
    assert {"--require-hashes", "--no-deps", "--only-binary", "--requirement"} <= {*install.split()}
    for requirements in ("services.txt", "services-extras.txt"):
        assert (ROOT / "requirements" / requirements).exists()


def test_no_tool_to_build_or_install_with_stays_behind(dockerfile: Dockerfile) -> None:
    for service in SERVICES:
        runs = [run.rest for stage in dockerfile.chain(service) for run in stage.all("RUN")]
        assert any("pip uninstall --yes" in run for run in runs)
        assert not any("apt" in run or "pip install" in run for run in runs)


def test_the_standard_library_is_compiled_as_it_comes_without(dockerfile: Dockerfile) -> None:
    compiled = [run.rest for run in dockerfile.stages["base"].all("RUN") if "compileall" in run.rest]
    assert any(run.endswith(" /usr/local/lib/python3.*") for run in compiled)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_own_code_only(dockerfile: Dockerfile, service: str) -> None:
    copies = [copy.words for stage in dockerfile.chain(service) for copy in stage.all("COPY")]
    assert {words[0] for words in copies} == {"--from=packages", "LICENSE", "shared/", f"{service}/"}


def test_nothing_else_is_sent_to_the_builder() -> None:
    files = context()
    assert {file.partition("/")[0] for file in files} == {"LICENSE", "requirements", "shared", *SERVICES}
    assert "shared/pubsub/message.schema.json" in files
    assert not [file for file in files if file.endswith(".pyc")]

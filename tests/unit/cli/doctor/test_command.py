from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import cli
from cli.doctor import command
from cli.doctor.finding import Fault, Finding, judged, skipped, unknown
from cli.doctor.installation import Installation
from cli.target import EMULATORS, Target
from tests.unit.cli.doctor.apis import HERE, NAMES

OUTPUTS = str(HERE / "outputs.json")
FINE = judged("apis", [], "12 are enabled")
WRONG = judged("trigger", [Fault("it\nhas failed", "terraform apply")], "")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*EMULATORS, "GOOGLE_CLOUD_PROJECT", "DATABASE", "MAIL_COLLECTION", "MAIL_TOPIC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be examined; the findings are those that a test puts there first."""
    seen: list[Any] = []

    def examine(target: Target, installation: Installation | None, *_: Any) -> Iterator[Finding]:
        findings = list(seen)
        seen[:] = [target, installation]
        yield from findings

    monkeypatch.setattr(command, "_examine", examine)
    return seen


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ([FINE], 0, "1 checks: 1 fine, 0 wrong."),
        ([FINE, skipped("ttl", "x")], 0, "2 checks: 1 fine, 0 wrong, 1 that do not apply."),
        ([FINE, WRONG], 1, "2 checks: 1 fine, 1 wrong."),
        ([unknown("apis", "x")], 1, "1 checks: 0 fine, 0 wrong, 1 that could not be made."),
    ],
)
def test_the_exit_code_is_0_only_if_all_is_fine(
    examined: list[Any], findings: list[Finding], code: int, summary: str
) -> None:
    examined += findings
    result = run("doctor", "--terraform", OUTPUTS)
    assert (result.exit_code, result.stderr) == (code, f"{summary}\n")


def test_a_pipe_gets_one_line_per_check_with_tabs(examined: list[Any]) -> None:
    examined += [FINE, WRONG]
    lines = run("doctor", "--terraform", OUTPUTS).stdout.splitlines()
    assert lines == ["✓\tapis\t12 are enabled", "✗\ttrigger\tit has failed\tterraform apply"]


def test_a_terminal_gets_colours_and_what_to_do() -> None:
    line = command._line(WRONG, is_terminal=True)
    assert str(line).startswith("✗ trigger ")
    assert str(line).endswith("it has failed  To do: terraform apply.")


def test_json_has_one_object_per_check(examined: list[Any]) -> None:
    examined += [WRONG]
    assert json.loads(run("doctor", "--terraform", OUTPUTS, "--json").stdout) == {
        "check": "trigger",
        "verdict": "wrong",
        "detail": "it\nhas failed",
        "remedy": "terraform apply",
    }


def test_terraform_s_outputs_win_over_the_environment(examined: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
    assert run("doctor", "--terraform", OUTPUTS).exit_code == 0
    target, installation = examined
    assert target == Target("shop-production", "(default)", "mail", "firepost-mail", "firepost-mail-dead-letter-pull")
    assert installation == NAMES


def test_names_may_be_given(examined: list[Any]) -> None:
    options = ("--region", "europe-west4", "--database-location", "eur3")
    assert run("--project", "shop-production", "doctor", "--name", "firepost", *options).exit_code == 0
    assert examined[1] == NAMES


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["doctor"], "Which installation? Use --terraform FILE"),
        (["doctor", "--name", "firepost"], "Which installation?"),
        (["doctor", "--name", "firepost", "--region", "r"], "Which project?"),
        (["doctor", "--terraform", OUTPUTS, "--region", "r"], "--terraform says where everything is"),
        (
            ["doctor", "--terraform", OUTPUTS, "--name", "x"],
            "--terraform: it describes firepost; choose one with --name.",
        ),
        (["doctor", "--terraform", str(HERE / "test_command.py")], "--terraform: "),
        (["doctor", "--terraform", OUTPUTS, "--to", "nobody"], "--to: "),
        (["doctor", "--terraform", OUTPUTS, "--to", "a@b.example\nBcc: x@y.example"], "--to: "),
        (["doctor", "--terraform", OUTPUTS, "--wait", "0"], "--wait"),
    ],
)
def test_wrong_usage_examines_nothing(examined: list[Any], arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert examined == []


@pytest.mark.parametrize("option", [("--terraform", OUTPUTS), ("--name", "firepost")])
def test_the_local_stack_has_no_other_names(
    option: tuple[str, str], examined: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in EMULATORS:  # --local sets them; this restores them
        monkeypatch.setenv(name, "")
    ready = {"firestore": "127.0.0.1:2", "pubsub": "127.0.0.1:3", "project": "local", "topic": "mail"}
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    local = ("--local", str(tmp_path / "ready.json"), "doctor")
    assert "there is nothing for --terraform or --name" in run(*local, *option).stderr
    assert run(*local).exit_code == 0
    assert examined[1] is None

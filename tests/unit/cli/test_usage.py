"""Command lines that are refused before any request, with exit code 2 and a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli as package
from cli.__main__ import cli
from cli.set_state import Pace, Tally
from cli.target import EMULATORS, Target
from shared.delivery.model import State
from tests.unit.cli.test_watch import Time

PROJECT = ("--project", "p")
SEND = ("send", "--to", "a@b.c", "--subject", "s", "--text", "t")


@pytest.fixture(autouse=True)
def nobody_to_talk_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    for name in EMULATORS:
        monkeypatch.setenv(name, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["list"], "Which project? Use --project ID", id="no-project"),
        pytest.param([*PROJECT, "status", "users/x"], "not a document in the collection 'mail'", id="foreign-path"),
        pytest.param([*PROJECT, "list", "--since", "soon"], "neither a duration such as 2h", id="no-time"),
        pytest.param([*PROJECT, "list", "--state", "DONE"], "'DONE' is not one of", id="no-state"),
        pytest.param([*PROJECT, "list", "--partial", "--state", "ERROR"], "excludes --state", id="partial-errors"),
        pytest.param([*PROJECT, "list", "--since", "1h", "--until", "2h"], "before --since", id="list-no-time"),
        pytest.param([*PROJECT, "find"], "Specify --to, --message-id", id="find-nothing"),
        pytest.param([*PROJECT, "find", "--to", "ada"], "an address without an @", id="find-no-address"),
        pytest.param([*PROJECT, "find", "--to", "a@b.c, d@e.f"], "2 addresses; one is needed", id="find-two"),
        pytest.param([*PROJECT, "find", "--subject", " "], "it is empty", id="find-empty"),
        pytest.param([*PROJECT, "find", "--subject", "\udcff"], "not text in UTF-8", id="find-no-text"),
        pytest.param([*PROJECT, "find", "--to", "a@b.c", "--reads", "0"], "--reads", id="find-no-reads"),
        pytest.param(
            [*PROJECT, "find", "--to", "a@b.c", "--since", "1h", "--until", "2h"], "before", id="find-no-time"
        ),
        pytest.param([*PROJECT, "retry"], "either PATH..., or --state ERROR", id="retry-without-selection"),
        pytest.param([*PROJECT, "retry", "a", "--state", "ERROR"], "either PATH...", id="retry-both"),
        pytest.param([*PROJECT, "retry", "a", "--since", "2h"], "require --state ERROR", id="retry-path-since"),
        pytest.param([*PROJECT, "retry", "a", "--rate", "0"], "not in the range x>0", id="retry-never"),
        pytest.param([*PROJECT, "cancel"], "either PATH..., or --state", id="cancel-without-selection"),
        pytest.param([*PROJECT, "cancel", "a", "--state", "RETRY"], "either PATH...", id="cancel-both"),
        pytest.param([*PROJECT, "cancel", "a", "--since", "2h"], "requires --state", id="cancel-path-since"),
        pytest.param([*PROJECT, "cancel", "--state", "ERROR"], "'ERROR' is not one of", id="cancel-ended"),
        pytest.param([*PROJECT, "pause", "--transport", "BULK"], "expected a name of TRANSPORTS", id="pause-no-name"),
        pytest.param([*PROJECT, "pause", "--lane", "BULK"], "expected a name of LANES", id="pause-no-lane"),
        pytest.param([*PROJECT, "resume", "--lane", "a", "--transport", "b"], "one by one", id="resume-two"),
        pytest.param([*PROJECT, "resume", "--rate", "0"], "not in the range 0<x", id="resume-never"),
        pytest.param([*PROJECT, "dead-letters", "replay"], "either ID..., or --all", id="replay-without-selection"),
        pytest.param([*PROJECT, "send"], "Field 'to'", id="send-nothing"),
        pytest.param([*PROJECT, *SEND, "--header", "X"], "is not 'Name: value'", id="send-header"),
        pytest.param([*PROJECT, *SEND, "--send-at", "soon"], "nor a time such as", id="send-when"),
        pytest.param([*PROJECT, *SEND, "--expires-at", "soon"], "nor a time such as", id="send-until-when"),
        pytest.param([*PROJECT, *SEND, "--text-file", "-"], "--text and --text-file exclude", id="send-two-texts"),
        pytest.param([*PROJECT, *SEND, "--id", "a/b"], "'id' must be a Firestore document id", id="send-id"),
        pytest.param([*PROJECT, "send", "-"], "FILE: it must hold one mail document", id="send-file"),
        pytest.param([*PROJECT, "--local", "missing", "list"], "is not a ready file", id="no-ready-file"),
    ],
)
def test_wrong_usage_is_named_and_nothing_is_done(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments, input="[]")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_a_mail_that_is_too_large_for_a_document_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(b"\0" * 800_000)
    arguments = [*PROJECT, *SEND, "--publish", "--attach", str(tmp_path / "large.bin")]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, "larger than 1 MiB" in result.stderr) == (2, True)


def test_a_text_that_is_not_utf_8_is_refused_naming_its_option(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"Gr\xfc\xdfe")
    arguments = [*PROJECT, "send", "--to", "a@b.c", "--subject", "s", "--text-file", str(tmp_path / "latin.txt")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "--text-file: it is not text in UTF-8." in result.stderr


@pytest.mark.parametrize("present", EMULATORS)
def test_half_an_emulator_is_refused(present: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(next(name for name in EMULATORS if name != present))
    result = CliRunner().invoke(cli, [*PROJECT, "list"])
    assert result.exit_code == 2
    assert f"{present} is set but" in result.stderr


@pytest.mark.parametrize(
    ("options", "target"),
    [
        pytest.param([], Target("local", "(default)", "own", "local-topic", "letters"), id="over-the-environment"),
        pytest.param(
            ["--project", "p", "--topic", "t", "--database", "d"],
            Target("p", "d", "own", "t", "letters"),
            id="options-win",
        ),
    ],
)
def test_the_ready_file_wins_over_the_environment(
    options: list[str], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = {"firestore": "127.0.0.1:2", "pubsub": "127.0.0.1:3", "project": "local", "topic": "local-topic"}
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    for name, value in {"GOOGLE_CLOUD_PROJECT": "production", "DATABASE": "eu", "MAIL_TOPIC": "live"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAIL_COLLECTION", "own")
    monkeypatch.setenv("DEAD_LETTER_SUBSCRIPTION", "letters")
    context = cli.make_context("cli", ["--local", str(tmp_path / "ready.json"), *options, "list"])
    with context:
        context.invoke(cli.callback, **context.params)  # type: ignore[arg-type]
    assert context.obj == target


def commands(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """The words of a command, and of all below it."""
    yield names
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, *names, name)


@pytest.mark.parametrize("words", [*commands(cli)], ids=" ".join)
def test_help_needs_no_project_and_documents_the_exit_codes(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert "Exit codes:" in result.stdout


def test_the_package_s_map_names_each_module() -> None:
    modules = {each.name for each in Path(package.__file__).parent.iterdir()} - {"__init__.py", "__pycache__"}
    named = set(re.findall(r"\b(\w+\.py|doctor)\b", package.__doc__ or ""))
    assert named == modules


def test_the_rate_limit_does_not_save_up_unused_time() -> None:
    time = Time()
    pace = Pace(4, time.clock, time.sleep)
    for _ in range(9):
        pace.wait()
    assert time.now == 2.0
    time.now += 60
    for _ in range(3):
        pace.wait()
    assert time.now == 62.5


@pytest.mark.parametrize(("rate", "batch"), [(0.1, 1), (3, 1), (50, 12), (1_000_000, 100)])
def test_a_batch_is_a_fraction_of_a_second_s_work(rate: float, batch: int) -> None:
    assert Pace(rate).batch == batch


def test_a_batch_waits_for_all_its_actions() -> None:
    time = Time()
    pace = Pace(40, time.clock, time.sleep)
    for _ in range(5):
        pace.wait(pace.batch)
    assert time.now == 1.0


def test_the_summary_counts_reasons_and_explains_unknown_outcomes() -> None:
    tally = Tally(State.RETRY)
    for reason in (None, None, "changed", "outcome-unknown", "changed"):
        tally.count(reason)
    assert tally.sentence(dry_run=False) == (
        "2 set to RETRY; skipped: 2 changed, 1 outcome-unknown "
        "(these may have been sent; --error-code unknown --error-code lease-expired includes them)."
    )
    assert Tally(State.RETRY, 1234).sentence(dry_run=True) == "1,234 would be set to RETRY."
    assert Tally(State.CANCELLED, 2).sentence(dry_run=False) == "2 set to CANCELLED."


def test_each_command_is_found_by_its_name() -> None:
    context = click.Context(cli)
    names = cli.list_commands(context)
    assert "counts" in names
    assert [command.name for name in names if (command := cli.get_command(context, name))] == names
    assert cli.get_command(context, "no-such-command") is None


def test_a_command_imports_only_what_it_needs() -> None:
    """Importing all of Google's libraries would take a second, each time."""
    counts = "from cli.__main__ import cli; cli(['counts', '-h'], standalone_mode=False)"
    script = f"import sys; {counts}; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cli.counts" in ended.stdout.split()
    assert not {"google.cloud.pubsub_v1", "cli.send"} & set(ended.stdout.split())

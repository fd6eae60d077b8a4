"""`template lint`: files and stored templates, the same problems of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import cli
from tests.unit.cli.conftest import Store


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str, content: str | bytes | dict[str, Any]) -> None:
    file = Path("emails", name)
    file.parent.mkdir(parents=True, exist_ok=True)
    raw = json.dumps(content) if isinstance(content, dict) else content
    file.write_bytes(raw.encode() if isinstance(raw, str) else raw)


def lint(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["template", "lint", "--dir", "emails", *arguments])


def test_correct_templates_are_counted(directory: Path) -> None:
    put("welcome.json", {"subject": "Hi {{name}}", "html": "{{> footer}}"})
    put("order/subject.hbs", "Order {{id}}")
    put("order/html.hbs", "<p>{{id}}</p>{{> footer}}{{> sign}}")
    put("order/data.json", {"id": 17})
    put("partials/footer/html.hbs", "--")
    put("partials/sign.yaml", "html: Yours\nname: sign")
    put("README.md", "not a template")
    result = lint()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "4 templates and partials checked, 0 problems.\n"


def test_problems_have_a_file_a_line_and_a_column(directory: Path) -> None:
    put("a/html.hbs", "<p>\n  {{#if x}}\n</p>")
    put("b/html.hbs", "{{> nowhere}}\n{{> footer}}")
    put("b/text.hbs", "{{> footer}}")
    put(
        "c.json",
        {"subject": "{{shout x}}", "html": "x", "attachments": [{"filename": "{{nme}}", "content": "{{> footer}}"}]},
    )
    put("c.data.json", {"x": 1})
    put("partials/footer/html.hbs", "{{/if}}")
    result = lint()
    assert result.exit_code == 1
    first, *others, last = result.stdout.splitlines()
    assert first == "emails/a/html.hbs:2:3: '{{#if}}' is never closed."
    assert last.startswith("emails/partials/footer/html.hbs:1:")
    assert others == [
        "emails/b/text.hbs:1:1: There is no partial 'footer' for this part.",
        "emails/b/html.hbs:1:1: There is no partial 'nowhere' for this part.",
        "emails/c.json#subject:1:1: There is no helper 'shout'.",
        "emails/c.json#attachments.0.filename:1:3: The data has no 'nme'.",
        "emails/c.json#attachments.0.content:1:1: There is no partial 'footer' for this part.",
    ]


def test_problems_as_json(directory: Path) -> None:
    put("a/html.hbs", "\n {{> nowhere}}")
    [record] = [json.loads(line) for line in lint("--json").stdout.splitlines()]
    assert record == {
        "template": "a",
        "place": "emails/a/html.hbs",
        "line": 2,
        "column": 2,
        "text": "There is no partial 'nowhere' for this part.",
    }


def test_data_is_that_of_the_template_or_else_that_of_the_option(directory: Path) -> None:
    put("a/html.hbs", "{{own}}{{common}}")
    put("a/data.json", {"own": 1})
    put("b/html.hbs", "{{own}}{{common}}")
    Path("data.json").write_text('{"common": 1}')
    assert lint("--data", "data.json").stdout.splitlines() == [
        "emails/a/html.hbs:1:10: The data has no 'common'.",
        "emails/b/html.hbs:1:3: The data has no 'own'.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        pytest.param("a.json", "{", "a.json", "It can't be read", id="no-json"),
        pytest.param("a.json", "[]", "a.json", "It can't be read", id="no-document"),
        pytest.param("a.json", b"\xff", "a.json", "not text in UTF-8", id="binary-document"),
        pytest.param("a/html.hbs", b"\xff", "a/html.hbs", "not text in UTF-8", id="binary-part"),
        pytest.param("a/htm.hbs", "x", "a/htm.hbs", "expected subject.hbs", id="no-such-part"),
        pytest.param("a/data.json", "[]", "a/data.json", "a JSON object", id="no-data"),
        pytest.param("a.json", {"html": 5}, "a.json", "Field 'emails/a.json.html'", id="wrong-type"),
        pytest.param("a.json", {"html": "x", "partial": "yes"}, "a.json", "partial", id="neither-partial-nor-template"),
    ],
)
def test_a_wrong_file_is_a_problem(directory: Path, name: str, content: Any, place: str, words: str) -> None:
    put(name, content)
    result = lint()
    assert result.exit_code == 1
    assert result.stdout.startswith(f"emails/{place}:1:1: ")
    assert words in result.stdout


def test_only_named_templates_are_checked_and_a_missing_one_is_named(directory: Path) -> None:
    put("a/html.hbs", "{{> x}}")
    put("b/html.hbs", "{{> y}}")
    assert lint("b").stdout == "emails/b/html.hbs:1:1: There is no partial 'y' for this part.\n"
    result = lint("ghost")
    assert (result.exit_code, "No such template: ghost." in result.stderr) == (1, True)


def test_files_need_no_project(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    put("a/html.hbs", "x")
    assert lint().exit_code == 0


def test_stored_templates_are_checked_with_their_partials(store: Store) -> None:
    store.write(
        {
            "templates/order": {"subject": "{{id}}", "html": "{{> foot}}{{> nowhere}}", "text": "{{#if x}}"},
            "templates/footer": {"partial": True, "name": "foot", "html": "{{company}}"},
            **{f"templates/t{number:02}": {"html": "x"} for number in range(30)},
            "elsewhere/a": {"html": "{{> nowhere}}"},
        }
    )
    result = store.run("template", "lint", "--data", "-", stdin='{"id": 1}')
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("templates/order#text:1:")
    assert lines[1:] == [
        "templates/footer#html:1:3: The data has no 'company'.",
        "templates/order#html:1:11: There is no partial 'nowhere' for this part.",
    ]
    assert result.stderr == "32 templates and partials checked, 3 problems.\n"
    assert store.run("template", "lint", "t00").exit_code == 0
    assert store.run("template", "lint", "--templates", "elsewhere").exit_code == 1

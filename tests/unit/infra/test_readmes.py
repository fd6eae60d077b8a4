"""What is made from the modules' text is up to date, and the root module passes everything on."""

from __future__ import annotations

import re
from pathlib import Path
from tomllib import loads

import pytest

from tests.unit.infra.module import MODULE, ROOT
from tests.unit.infra.readmes import EXAMPLES, MODULES, blocks, made

MADE = made()


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(MODULE))) for path in MADE])
def test_what_is_made_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == MADE[path], "run: make terraform-docs"


@pytest.mark.parametrize("module", [pytest.param(path, id=path.name) for path in [*MODULES, *EXAMPLES]])
def test_each_variable_and_output_is_described(module: Path) -> None:
    found = [*blocks(module, "variable"), *blocks(module, "output")]
    assert found
    assert [block.name for block in found if not block.description] == []


@pytest.mark.parametrize("module", MODULES[1:], ids=lambda path: path.name)
def test_the_root_passes_each_variable_on(module: Path) -> None:
    main = (MODULE / "main.tf").read_text(encoding="utf-8")
    call = re.search(rf'^module "{module.name}" {{\n(.*?)^}}', main, re.MULTILINE | re.DOTALL)
    assert call is not None
    passed = dict(re.findall(r"^  (\w+) += (\S+)$", call.group(1), re.MULTILINE))
    assert set(passed) - {"source"} == {block.name for block in blocks(module, "variable")}
    for name in set(passed) - {"source", "resources"}:
        assert passed[name] == f"var.{name}"


def test_the_first_readme_names_all_others() -> None:
    text = (MODULE / "README.md").read_text(encoding="utf-8")
    assert [path for path in [*MODULES[1:], *EXAMPLES] if f"({path.relative_to(MODULE)}/README.md)" not in text] == []


def test_each_example_has_a_test() -> None:
    assert [path.name for path in EXAMPLES if not list(path.glob("tests/*.tftest.hcl"))] == []


def test_examples_and_modules_ask_for_the_same_providers() -> None:
    files = [path / "versions.tf" for path in [*MODULES, *EXAMPLES]]
    constraints = {
        (source, version)
        for file in files
        for source, version in re.findall(
            r'source += "hashicorp/(\S+)"\n +version += "([^"]+)"', file.read_text(encoding="utf-8")
        )
    }
    assert len(constraints) == len({source for source, _ in constraints}), constraints


#: Old addresses of resources, which were all in the root module up to version 0.2.0.
MOVED = re.findall(r"from = (\S+)\n +to +=  ?(\S+)", (MODULE / "moved.tf").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("old", "new"), MOVED)
def test_state_of_earlier_versions_moves_to_resources_that_exist(old: str, new: str) -> None:
    found = re.fullmatch(r"module\.(\w+)\.(\w+)\.(\w+)(\[.*\])?", new)
    assert found is not None
    module, kind, name, _ = found.groups()
    texts = [path.read_text(encoding="utf-8") for path in (MODULE / "modules" / module).glob("*.tf")]
    assert any(f'resource "{kind}" "{name}" {{' in text for text in texts), old


def test_the_documents_name_the_version_that_they_describe() -> None:
    project = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"].removesuffix(".dev0")
    documents = [*(path / "README.md" for path in MODULES), ROOT / "docs" / "deploying.md"]
    text = "\n".join(document.read_text(encoding="utf-8") for document in documents)
    assert set(re.findall(r"\?ref=(\S+?)[\"`\s]", text)) == {f"v{version}"}
    assert set(re.findall(r'image_version += "(\d.*?)"', text)) == {version}

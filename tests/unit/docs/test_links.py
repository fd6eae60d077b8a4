"""Documents name files, functions and headings that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit.docs.documents import ROOT, quoted, rows

#: A path in the repository: directories and a file with an extension, or directories and a slash.
PATH = re.compile(r"(?:[\w.-]+/)+(?:[\w-]+\.[a-z]+)?")
#: The target of a link or an image that stays within the repository.
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
FILE = re.compile(r"`[\w/]+\.py`")
NAMES = re.compile(r"`[\w.]+`(, `[\w.]+`)*")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for glob in ("*.md", "docs/**/*.md", "infra/**/*.md") for path in ROOT.glob(glob)
)


def text_of(document: str) -> str:
    return CODE_BLOCK.sub("", (ROOT / document).read_text(encoding="utf-8"))


def is_history(document: str) -> bool:
    """Whether the document speaks of files that are gone: the changelog, and decisions that are withdrawn."""
    return document == "CHANGELOG.md" or "· withdrawn by" in text_of(document)


def paths_in(document: str) -> Iterator[str]:
    """The paths in backticks. Anything else that has a slash in it begins with no directory of the repository."""
    for text in quoted(text_of(document)):
        if PATH.fullmatch(text) and (ROOT / text.partition("/")[0]).is_dir():
            yield text


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not is_history(name)])
def test_each_file_that_a_document_names_exists(document: str) -> None:
    assert [path for path in paths_in(document) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_paths_are_found_in_documents_that_name_many(document: str) -> None:
    assert list(paths_in(document))


@cache
def names_in(file: Path) -> frozenset[str]:
    """The functions, classes, methods (`Class.method`) and constants that a module defines."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                found |= {name} | {f"{name}.{each.name}" for each in body if isinstance(each, ast.FunctionDef)}
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.add(name)
    return frozenset(found)


def steps() -> Iterator[tuple[str, str]]:
    """The files of docs/architecture.md, each with the names that it is said to define: rows of three cells, of which
    the second is one file and the third nothing but names.
    """
    for row in rows("docs/architecture.md"):
        match row:
            case [_, file, names] if FILE.fullmatch(file) and NAMES.fullmatch(names):
                yield from ((file.strip("`"), name) for name in quoted(names))


STEPS = list(steps())


@pytest.mark.parametrize(("path", "name"), STEPS)
def test_each_step_of_the_architecture_is_where_it_says(path: str, name: str) -> None:
    assert name in names_in(ROOT / path), f"docs/architecture.md: {path} has no {name}"


def test_the_architecture_names_the_steps() -> None:
    assert {path.partition("/")[0] for path, _ in STEPS} == {"dispatcher", "sender", "shared"}


@cache
def anchors_of(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(str(document.relative_to(ROOT))), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_link_leads_somewhere(document: str) -> None:
    broken = []
    for link in LINK.findall(text_of(document)):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors_of(target.resolve())):
            broken.append(link)
    assert broken == []


def test_each_decision_is_in_the_index() -> None:
    index = text_of("docs/decisions/README.md")
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert records == sorted(link for link in LINK.findall(index) if link.startswith("0"))

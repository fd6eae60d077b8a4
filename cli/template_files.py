"""Templates in files, as template documents.

DIRECTORY/NAME.json, .yaml or .yml       a template document, with the fields that it has in Firestore
DIRECTORY/NAME/subject.hbs, text.hbs …   the same in parts
DIRECTORY/partials/…                     partials, in both forms
NAME.data.json, NAME/data.json           example data for that template
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli.draft import parse_file
from sender.message.templates import Part

PARTIALS: Final = "partials"
_DOCUMENTS: Final = (".json", ".yaml", ".yml")
_DATA: Final = "data.json"
_TEMPLATE: Final = ".hbs"


@dataclass(slots=True)
class TemplateDocument:
    """A template or partial, and where its parts stand. `faults` are sentences about files, each with the file.

    `data` is example data, if there is any.
    """

    name: str
    path: str
    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """As the sender reads it: only the boolean counts."""
        return self.fields.get("partial") is True

    def place_of(self, part: str) -> str:
        """The name of a part in findings: its file, or a field of its document."""
        return self.files.get(part, f"{self.path}#{part}")


def read_directory(directory: Path) -> Iterator[TemplateDocument]:
    """The templates and partials in a directory, by name. Raises `OSError`."""
    yield from _read(directory, {})
    if (partials := directory / PARTIALS).is_dir():
        yield from _read(partials, {"partial": True})


def _read(directory: Path, fields: Mapping[str, Any]) -> Iterator[TemplateDocument]:
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and entry.name != PARTIALS and not entry.name.startswith("."):
            yield _from_parts(entry, fields)
        elif entry.suffix in _DOCUMENTS and not entry.name.endswith(f".{_DATA}"):
            yield _from_file(entry, fields)


def _from_parts(directory: Path, fields: Mapping[str, Any]) -> TemplateDocument:
    document = TemplateDocument(directory.name, str(directory), dict(fields))
    for file in sorted(directory.glob(f"*{_TEMPLATE}")):
        if file.stem in list(Part):
            document.files[file.stem] = str(file)
            document.fields[file.stem] = _text(file, document)
        else:
            expected = ", ".join(f"{part}{_TEMPLATE}" for part in Part)
            document.faults.append((str(file), f"It has no meaning: expected {expected}."))
    _add_data(directory / _DATA, document)
    return document


def _from_file(file: Path, fields: Mapping[str, Any]) -> TemplateDocument:
    document = TemplateDocument(file.stem, str(file), dict(fields))
    try:
        document.fields |= parse_file(_text(file, document))
    except ValueError as error:
        document.faults.append((str(file), f"It can't be read: {error}."))
    _add_data(file.with_name(f"{file.stem}.{_DATA}"), document)
    return document


def _text(file: Path, document: TemplateDocument) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        document.faults.append((str(file), "It is not text in UTF-8."))
        return "{}" if file.suffix in _DOCUMENTS else ""


def _add_data(file: Path, document: TemplateDocument) -> None:
    if not file.is_file():
        return
    try:
        data = json.loads(file.read_bytes())
    except ValueError as error:
        document.faults.append((str(file), f"It is not JSON: {error}."))
        return
    if isinstance(data, dict):
        document.data = data
    else:
        document.faults.append((str(file), "It must hold a JSON object."))

"""Finds what is wrong with templates before a mail needs them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.template_files import TemplateDocument
from cli.template_names import findings
from sender.handlebars import Spot, TemplateError, compile_template, nodes
from sender.handlebars.parser import parse
from sender.message.templates import Part, compile_mail_template
from shared.errors import NotSendable
from shared.firestore.database import Snapshot, Version


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a template; line and column start at 1."""

    template: str
    place: str
    line: int
    column: int
    text: str

    @classmethod
    def at(cls, document: TemplateDocument, spot: Spot, text: str) -> Problem:
        """A problem at a position of a part, whose place is the spot's origin."""
        return cls(document.name, spot.origin, spot.line, spot.column, text)


def lint(
    documents: Sequence[TemplateDocument], names: Sequence[str], data: Mapping[str, Any] | None
) -> Iterator[Problem]:
    """The problems of these templates (empty: of all, and of all partials), in the order of the documents.

    All documents may be used as partials. `data` is example data for templates that have none of their own.
    """
    partials = _partials(documents)
    for document in documents:
        if not names or document.name in names:
            yield from _lint(document, partials, document.data if document.data is not None else data)


def _partials(documents: Sequence[TemplateDocument]) -> Mapping[str, TemplateDocument]:
    """The partials by id and by the field `name`, which takes precedence, as for the sender."""
    found = [each for each in documents if each.is_partial]
    by_name = {str(each.fields["name"]): each for each in found if isinstance(each.fields.get("name"), str)}
    return {each.name: each for each in found} | by_name


def _lint(
    document: TemplateDocument, partials: Mapping[str, TemplateDocument], data: Mapping[str, Any] | None
) -> Iterator[Problem]:
    for place, text in document.faults:
        yield Problem(document.name, place, 1, 1, text)
    malformed = False
    for part, place, source in _sources(document):
        try:
            compile_template(source, place)
            tree = parse(source, place)
        except TemplateError as error:
            malformed = True
            yield Problem.at(document, error.spot, _without_spot(error))
            continue
        example = None if document.is_partial else data
        known = _Trees(part, partials)
        yield from (Problem.at(document, each.spot, each.text) for each in findings(tree, known.find, example))
    if not (malformed or document.faults or document.is_partial):
        yield from _wrong_fields(document)


def _without_spot(error: TemplateError) -> str:
    return str(error).removeprefix(f"{error.spot}: ")


def _sources(document: TemplateDocument) -> Iterator[tuple[Part | None, str, str]]:
    """The templates in a document: the part, or None for a string of an attachment; the place; the text."""
    for part in Part:
        source = document.fields.get(part)
        if isinstance(source, str) and source:
            yield part, document.place_of(part), source
    if not document.is_partial:
        for path, text in _strings(document.fields.get("attachments"), "attachments"):
            yield None, document.place_of(path), text


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case list():
            for index, item in enumerate(value):
                yield from _strings(item, f"{path}.{index}")
        case dict():
            for key, item in value.items():
                yield from _strings(item, f"{path}.{key}")


class _Trees:
    """The syntax trees of the partials for one part; attachments have no partials."""

    def __init__(self, part: Part | None, partials: Mapping[str, TemplateDocument]) -> None:
        self._part = part
        self._partials = partials
        self._trees: dict[str, nodes.Program | None] = {}

    def find(self, name: str) -> nodes.Program | None:
        """See `cli.template_names.FindPartial`; one that is malformed is empty, as it is reported itself."""
        if name not in self._trees:
            self._trees[name] = self._parsed(name)
        return self._trees[name]

    def _parsed(self, name: str) -> nodes.Program | None:
        document = self._partials.get(name)
        if document is None or self._part is None:
            return None
        source, place = document.fields.get(self._part), document.place_of(self._part)
        if not isinstance(source, str) or not source:
            return None
        try:
            return parse(source, place)
        except TemplateError:
            return nodes.Program([], Spot(place, 1, 1))


def _wrong_fields(document: TemplateDocument) -> Iterator[Problem]:
    """What the sender says about the document's fields; the templates in them are well-formed."""
    nowhere = datetime.min.replace(tzinfo=UTC)
    try:
        compile_mail_template(Snapshot(document.path, document.fields, nowhere, Version()))
    except NotSendable as error:
        yield Problem(document.name, document.path, 1, 1, str(error))

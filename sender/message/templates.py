"""Mails from templates: Trigger Email's templates collection, compiled and rendered.

A template document holds `subject`, `html`, `text`, `amp` (strings) and `attachments` (an array of maps whose strings
are templates). With `partial: true` it is a partial of those parts that it holds.

The rules are those of Trigger Email 0.2.8 (`templates.ts`, `prepare-payload.ts`) but for attachments: there, all of
them are rendered as one JSON text, escaped for HTML, so that data with a quote breaks it or adds a `path` of their own.
Here each string is rendered by itself and as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from sender.document.document import MailDocument, Message, read_attachments
from sender.document.fields import Fields, describe
from sender.handlebars import Limits, Mode, Template, TemplateError, compile_template
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSendable, NotSent
from shared.firestore.database import Snapshot

#: What rendering one mail may take; an ordinary one takes a fraction of a millisecond.
RENDER_SECONDS = 5.0

_LINE_BREAKS = re.compile(r"[ \t]*[\r\n\0]+[ \t]*")
_NO_MESSAGE = Message(subject=None, text=None, html=None, amp=None, attachments=())


class Part(StrEnum):
    """A part of the mail that has a template of its own; each has its own partials, too."""

    SUBJECT = "subject"
    TEXT = "text"
    HTML = "html"
    AMP = "amp"

    @property
    def mode(self) -> Mode:
        """What is markup is escaped; subject and text are as plain as the data."""
        return Mode(escape=self in (Part.HTML, Part.AMP))


class StoredPartial:
    """A partial as it was stored; a part is compiled when it is first called."""

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self._name = name
        self._snapshot = snapshot
        self._compiled: dict[Part, Template] = {}

    def is_of(self, snapshot: Snapshot) -> bool:
        """Whether it is the same document in the same version."""
        return (self._snapshot.path, self._snapshot.version) == (snapshot.path, snapshot.version)

    def part(self, part: Part) -> Template | None:
        """The part's template, or None if the partial has none. Raises `TemplateError` if it is malformed."""
        if part not in self._compiled:
            source = self._snapshot.fields.get(part)
            if not isinstance(source, str) or not source:
                return None
            self._compiled[part] = compile_template(source, f"{part} of partial '{self._name}'", part.mode)
        return self._compiled[part]


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """A template document, compiled. `attachments` is as stored, but with a `Template` for each string; or None."""

    path: str
    parts: Mapping[Part, Template]
    attachments: Any

    @property
    def uses_partials(self) -> bool:
        """Whether any part calls a partial."""
        return any(template.uses_partials for template in self.parts.values())


class Templates(Protocol):
    """A templates collection; both methods raise `Unavailable` if it can't be read."""

    collection: str

    def get(self, name: str) -> MailTemplate | None:
        """The template of that name; raises `NotSendable` if it is malformed."""
        ...

    def partials(self) -> Mapping[str, StoredPartial]:
        """All partials by name."""
        ...


def compile_mail_template(snapshot: Snapshot) -> MailTemplate:
    """A template from its document. Raises `NotSendable` (code `template`) naming document, part and line."""
    fields = Fields(snapshot.fields, snapshot.path)
    if snapshot.fields.get("partial"):
        fields.fault("partial", describe(snapshot.fields["partial"]), "false or nothing, as this is used as a template")
    sources = {part: source for part in Part if (source := fields.text(part))}
    _raise_as_template_error(fields)
    try:
        parts = {part: compile_template(source, part, part.mode) for part, source in sources.items()}
        attachments = _compile_strings(snapshot.fields.get("attachments"), "attachments")
    except TemplateError as error:
        raise NotSendable(ErrorCode.TEMPLATE, f"Template '{snapshot.path}' is malformed: {error}") from None
    return MailTemplate(snapshot.path, parts, attachments)


def _compile_strings(value: Any, path: str) -> Any:
    match value:
        case str():
            return compile_template(value, path, Mode(escape=False, strict=True))
        case list():
            return [_compile_strings(item, f"{path}.{index}") for index, item in enumerate(value)]
        case dict():
            return {key: _compile_strings(item, f"{path}.{key}") for key, item in value.items()}
        case _:
            return value


def render(document: MailDocument, templates: Templates, deadline: Deadline) -> MailDocument:
    """The document with its template rendered into its message; without a template, the document as it is.

    What the template renders replaces what the message says, an empty text too; what the template doesn't have, the
    message keeps. Raises `NotSendable` (code `template`) for what the template or the data are at fault for,
    `NotSent` when the deadline passes meanwhile, `Unavailable` when the templates can't be read.
    """
    if document.template is None:
        return document
    name = document.template.name
    template = templates.get(name)
    if template is None:
        expected = f"a document's id in the templates collection '{templates.collection}'"
        found = f"'{name[:200]}', which is not there"
        raise NotSendable.field("template.name", found, expected, ErrorCode.TEMPLATE)
    partials = templates.partials() if template.uses_partials else {}
    rendering = _Rendering(_in_order(document.template.data), partials, deadline.within(RENDER_SECONDS))
    try:
        rendered = rendering.parts(template)
        attachments = rendering.strings(template.attachments)
    except TemplateError as error:
        if deadline.remaining() <= 0:
            raise NotSent(ErrorCode.TEMPORARY, "The attempt's time was up before the template was rendered.") from None
        raise NotSendable(ErrorCode.TEMPLATE, f"Template '{template.path}' can't be rendered: {error}") from None
    return _merged(document, template.path, rendered, attachments)


class _Rendering:
    """One mail's rendering: what all its parts share."""

    def __init__(self, data: dict[str, Any], partials: Mapping[str, StoredPartial], until: Deadline) -> None:
        self._data = data
        self._partials = partials
        self._until = until

    def parts(self, template: MailTemplate) -> dict[Part, str]:
        texts = {part: self._text(compiled, self._finder(part)) for part, compiled in template.parts.items()}
        if Part.SUBJECT in texts:
            texts[Part.SUBJECT] = _LINE_BREAKS.sub(" ", texts[Part.SUBJECT]).strip()
        return texts

    def strings(self, value: Any) -> Any:
        """The attachments with the text of each template in its place; those have no partials."""
        match value:
            case Template():
                return self._text(value, lambda name: None)
            case list():
                return [self.strings(item) for item in value]
            case dict():
                return {key: self.strings(item) for key, item in value.items()}
            case _:
                return value

    def _text(self, template: Template, partials: Callable[[str], Template | None]) -> str:
        limits = Limits(seconds=self._until.remaining())
        return template.render(self._data, partials, limits, self._until.clock)

    def _finder(self, part: Part) -> Callable[[str], Template | None]:
        def find(name: str) -> Template | None:
            partial = self._partials.get(name)
            return partial.part(part) if partial else None

        return find


def _merged(document: MailDocument, path: str, rendered: dict[Part, str], attachments: Any) -> MailDocument:
    message, warnings = document.message or _NO_MESSAGE, document.warnings
    message = replace(
        message,
        subject=rendered.get(Part.SUBJECT, message.subject),
        text=rendered.get(Part.TEXT, message.text),
        html=rendered.get(Part.HTML, message.html),
        amp=rendered.get(Part.AMP, message.amp),
    )
    if attachments is not None:
        fields = Fields({"attachments": attachments}, path)
        read, more_warnings = read_attachments(fields)
        _raise_as_template_error(fields)
        message, warnings = replace(message, attachments=read), (*warnings, *more_warnings)
    if not (message.text or message.html):
        text = f"Template '{path}' and 'message' make a mail without 'text' and 'html': one of them must not be empty."
        raise NotSendable(ErrorCode.TEMPLATE, text)
    return replace(document, message=message, warnings=warnings)


def _raise_as_template_error(fields: Fields) -> None:
    try:
        fields.raise_faults()
    except NotSendable as error:
        raise NotSendable(ErrorCode.TEMPLATE, str(error)) from None


def _in_order(value: Any) -> Any:
    """The data with each map's keys in the order of their UTF-8 bytes.

    Firestore has no other order, and protobuf's is arbitrary; `{{#each map}}` shall always print the same.
    """
    match value:
        case dict():
            return {key: _in_order(value[key]) for key in sorted(value)}
        case list():
            return [_in_order(item) for item in value]
        case _:
            return value

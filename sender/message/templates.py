"""Compiles and renders mail templates in the format of Trigger Email's templates collection.

A template document has `subject`, `html`, `text`, `amp` (strings) and `attachments` (an array of maps whose strings are
templates). With `partial: true`, it is a partial for each of the parts that it has.

The rules are those of Trigger Email 0.2.8 (`templates.ts`, `prepare-payload.ts`) except for attachments: Trigger Email
renders them as one JSON text, escaped for HTML, so a quote in the data can break the JSON or inject a `path`. Here,
each string is rendered separately, without escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from sender.document.document import MAX_SUBJECT, MailDocument, Message, read_attachments
from sender.document.fields import Fields, describe
from sender.handlebars import Limits, Mode, Template, TemplateError, compile_template
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSendable, NotSent
from shared.firestore.database import Snapshot
from shared.firestore.values import Reference

#: The time limit for rendering one mail; typical mails take a fraction of a millisecond.
RENDER_SECONDS = 5.0

#: The most characters that one mail may render, all its parts and attachments together.
MAX_CHARACTERS = 5_000_000
#: Up to this many, no memory is reserved for more.
EASY_CHARACTERS = 100_000

_LINE_BREAKS = re.compile(r"[\r\n\0]+")
_NO_MESSAGE = Message(subject=None, text=None, html=None, amp=None, attachments=())


def one_line(text: str) -> str:
    """Join the lines of a rendered subject, whose template may have several."""
    return " ".join(line.strip(" \t") for line in _LINE_BREAKS.split(text)).strip()


class Part(StrEnum):
    """A part of the mail with its own template and its own partials."""

    SUBJECT = "subject"
    TEXT = "text"
    HTML = "html"
    AMP = "amp"

    @property
    def mode(self) -> Mode:
        """Values in markup are escaped; values in the subject and the text are not."""
        return Mode(escape=self in (Part.HTML, Part.AMP))


class StoredPartial:
    """A partial's document; each part is compiled on first use."""

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        self._name = name
        self._snapshot = snapshot
        self._compiled: dict[Part, Template] = {}

    def is_of(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot is the same version of the same document."""
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
    """A compiled template document. `attachments` is the stored value with a `Template` for each string, or None."""

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
        """The template with that name, or None; raises `NotSendable` if it is malformed."""
        ...

    def partials(self) -> Mapping[str, StoredPartial]:
        """All partials by name."""
        ...


def compile_mail_template(snapshot: Snapshot) -> MailTemplate:
    """Compile a template document. Raises `NotSendable` (code `template`) naming the document, part and line."""
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


def render(
    document: MailDocument,
    templates: Templates,
    deadline: Deadline,
    announce: Callable[[int], None] = lambda characters: None,
) -> MailDocument:
    """Render the document's template into its message; a document without a template is returned unchanged.

    Before there is much text, `announce` is called with the number of characters that it may have at most; an error
    that it raises ends the rendering.

    Each rendered part replaces that of the message, even if it is empty; the message keeps the other parts. Raises
    `NotSendable` (code `template`) for errors in the template or the data, `NotSent` if the deadline passes, and
    `Unavailable` if the templates can't be read.
    """
    if document.template is None:
        return document
    name = document.template.name
    template = templates.get(name)
    if template is None:
        expected = f"a document's id in the templates collection '{templates.collection}'"
        found = f"'{name[:200].encode(errors='replace').decode()}', which is not there"
        raise NotSendable.field("template.name", found, expected, ErrorCode.TEMPLATE)
    partials = templates.partials() if template.uses_partials else {}
    rendering = _Rendering(_with_names(document.template.data), partials, deadline.within(RENDER_SECONDS), announce)
    try:
        rendered = rendering.parts(template)
        attachments = rendering.strings(template.attachments)
    except TemplateError as error:
        if deadline.remaining() <= 0:
            raise NotSent(ErrorCode.TEMPORARY, "The attempt's time was up before the template was rendered.") from None
        raise NotSendable(ErrorCode.TEMPLATE, f"Template '{template.path}' can't be rendered: {error}") from None
    return _merged(document, template.path, rendered, attachments)


class _Rendering:
    """Renders one mail: the data, partials, deadline and limit of characters that all its parts share."""

    def __init__(
        self,
        data: dict[str, Any],
        partials: Mapping[str, StoredPartial],
        until: Deadline,
        announce: Callable[[int], None],
    ) -> None:
        self._data = data
        self._partials = partials
        self._until = until
        self._announce = announce
        self._left = MAX_CHARACTERS

    def parts(self, template: MailTemplate) -> dict[Part, str]:
        texts = {part: self._text(compiled, self._finder(part)) for part, compiled in template.parts.items()}
        if Part.SUBJECT in texts:
            texts[Part.SUBJECT] = one_line(texts[Part.SUBJECT])
        return texts

    def strings(self, value: Any) -> Any:
        """The attachments with each template replaced by its text; partials are not available to them."""
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
        written = MAX_CHARACTERS - self._left
        limits = Limits(
            seconds=self._until.remaining(),
            characters=self._left,
            quiet=max(0, EASY_CHARACTERS - written),
            announce=lambda: self._announce(MAX_CHARACTERS),
        )
        text = template.render(self._data, partials, limits, self._until.clock)
        self._left -= len(text)
        return text

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
    if len(message.subject or "") > MAX_SUBJECT:
        text = f"Template '{path}' makes a subject of more than {MAX_SUBJECT:,} characters."
        raise NotSendable(ErrorCode.TEMPLATE, text)
    if not (message.text or message.html):
        text = f"Template '{path}' and 'message' make a mail without 'text' and 'html': one of them must not be empty."
        raise NotSendable(ErrorCode.TEMPLATE, text)
    return replace(document, message=message, warnings=warnings)


def _raise_as_template_error(fields: Fields) -> None:
    try:
        fields.raise_faults()
    except NotSendable as error:
        raise NotSendable(ErrorCode.TEMPLATE, str(error)) from None


def _with_names(value: Any) -> Any:
    """The data with references as their names."""
    match value:
        case dict():
            return {key: _with_names(item) for key, item in value.items()}
        case list():
            return [_with_names(item) for item in value]
        case Reference():
            return value.name
        case _:
            return value

"""`template preview` and `template lint`: render a template with data, and check templates, without sending."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.clients import open_database
from cli.exits import EXIT_CODES, Failed
from cli.output import Output, json_option, one_line
from cli.target import Target
from cli.template_files import TemplateDocument, read_directory
from cli.template_lint import lint
from sender.document.document import Message, parse_document
from sender.message.template_repository import FirestoreTemplates
from sender.message.templates import render
from shared.deadline import Deadline
from shared.errors import DeliveryFailed
from shared.firestore.values import decode_fields, encode_fields

_PREVIEW_SECONDS = 30.0
#: Templates in one request, each of up to 1 MiB.
_PAGE = 25
_PARTS = ("subject", "text", "html", "amp")


@click.group(epilog=EXIT_CODES)
def template() -> None:
    """Work with stored templates."""


_data_option = click.option(
    "--data",
    "data_file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A JSON file with the template's data; - reads standard input.",
)
_collection_option = click.option(
    "--templates",
    "collection",
    envvar="TEMPLATES_COLLECTION",
    show_envvar=True,
    default="templates",
    show_default=True,
    help="Path of the collection of templates.",
)


@template.command(epilog=EXIT_CODES)
@click.argument("name")
@_data_option
@click.option("--part", type=click.Choice(_PARTS), help="Print only this part, verbatim.")
@_collection_option
@json_option
@click.pass_obj
def preview(
    target: Target, name: str, data_file: Path | None, part: str | None, collection: str, as_json: bool
) -> None:
    """Show the template NAME rendered with data, exactly as the sender would.

    \b
    Examples:
      python -m cli template preview welcome --data ada.json
      python -m cli template preview welcome --data ada.json --part html > welcome.html

    The exit code is 1 if the template does not exist, or can't be rendered; the error says where.
    """
    message = _rendered(target, collection, name, _read_data(data_file))
    texts = {each: text for each in _PARTS if (text := getattr(message, each)) is not None}
    output = Output(as_json)
    if part is not None:
        click.echo(texts.get(part, ""), nl=False)
        return
    attachments = [attachment.filename for attachment in message.attachments]
    heading = "\n\n".join(f"{each}:\n{text}" for each, text in texts.items())
    files = f"\n\nattachments: {', '.join(map(str, attachments))}" if attachments else ""
    output.result({"template": name, **texts, "attachments": attachments}, heading + files)


def _read_data(path: Path | None) -> Mapping[str, Any]:
    """The data as the sender reads it from a document: with the names of each map in Firestore's order."""
    if path is None:
        return {}
    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            data = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}.", param_hint="--data") from error
    if not isinstance(data, dict):
        raise click.BadParameter(f"{path} must hold a JSON object.", param_hint="--data")
    try:
        return decode_fields(encode_fields(data))
    except ValueError as error:
        raise click.BadParameter(f"{path} holds what no document can: {error}.", param_hint="--data") from error


def _rendered(target: Target, collection: str, name: str, data: Mapping[str, Any]) -> Message:
    with open_database(target) as database:
        templates = FirestoreTemplates(database, collection)
        try:
            document = parse_document({"to": "preview@example.com", "template": {"name": name, "data": dict(data)}})
            message = render(document, templates, Deadline.after(_PREVIEW_SECONDS)).message
        except DeliveryFailed as error:
            raise Failed(str(error)) from error
    assert message is not None, "a rendered document has a message"  # noqa: S101
    return message


@template.command("lint", epilog=EXIT_CODES)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check the files in this directory, and read nothing from Firestore.",
)
@_data_option
@_collection_option
@json_option
@click.pass_obj
def lint_templates(
    target: Target,
    names: tuple[str, ...],
    directory: Path | None,
    data_file: Path | None,
    collection: str,
    as_json: bool,
) -> None:
    """Check templates: their syntax, the partials and helpers that they call, and their variables.

    It checks all templates and partials of the collection, or those with a NAME (an id); every document of the
    collection is read. For CI, --dir checks files instead:

    \b
      DIR/welcome.json (or .yaml)            a template document, as in Firestore
      DIR/welcome/subject.hbs, html.hbs ...  or its parts: subject, text, html, amp
      DIR/partials/...                       partials, in both forms
      DIR/welcome.data.json,
      DIR/welcome/data.json                  example data

    Variables are checked if there is example data, from such a file or --data: each one that is missing there is
    reported, unless an 'if' or 'unless' around it, or an 'each' or 'with' with an 'else', says that it may be.

    \b
    Examples:
      python -m cli template lint
      python -m cli template lint welcome --data ada.json
      python -m cli template lint --dir emails

    Each problem is one line, FILE:LINE:COLUMN: TEXT. The exit code is 1 if there is one.
    """
    data = None if data_file is None else _read_data(data_file)
    documents = _stored(target, collection) if directory is None else list(read_directory(directory))
    if missing := set(names) - {each.name for each in documents}:
        raise Failed(f"No such template: {', '.join(sorted(missing))}.")
    output, problems = Output(as_json), list(lint(documents, names, data))
    for each in problems:
        output.result(asdict(each), one_line(f"{each.place}:{each.line}:{each.column}: {each.text}"))
    output.note(f"{len(names or documents):,} templates and partials checked, {len(problems):,} problems.")
    if problems:
        raise click.exceptions.Exit(Failed.exit_code)


def _stored(target: Target, collection: str) -> list[TemplateDocument]:
    documents: list[TemplateDocument] = []
    with open_database(target) as database:
        while page := database.page(collection, _PAGE, documents[-1].path if documents else None):
            documents += (TemplateDocument(each.path.rpartition("/")[2], each.path, each.fields) for each in page)
    return documents

"""`template preview`: render a stored template with data, without sending it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.clients import Target
from cli.exits import EXIT_CODES, Failed, reaching
from cli.output import Output, json_option
from sender.document.document import Message, parse_document
from sender.message.template_repository import FirestoreTemplates
from sender.message.templates import render
from shared.deadline import Deadline
from shared.errors import DeliveryFailed
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase

_PREVIEW_SECONDS = 30.0
_PARTS = ("subject", "text", "html", "amp")


@click.group()
def template() -> None:
    """Work with stored templates."""


@template.command(epilog=EXIT_CODES)
@click.argument("name")
@click.option(
    "--data",
    "data_file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A JSON file with the template's data; - reads standard input.",
)
@click.option("--part", type=click.Choice(_PARTS), help="Print only this part, verbatim.")
@click.option(
    "--templates",
    "collection",
    envvar="TEMPLATES_COLLECTION",
    show_envvar=True,
    default="templates",
    show_default=True,
    help="Path of the collection of templates.",
)
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
    if path is None:
        return {}
    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            data = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}.", param_hint="--data") from error
    if not isinstance(data, dict):
        raise click.BadParameter(f"{path} must hold a JSON object.", param_hint="--data")
    return data


def _rendered(target: Target, collection: str, name: str, data: Mapping[str, Any]) -> Message:
    target.check(os.environ)
    where = f"Firestore (project {target.project}, database {target.database})"
    with reaching(where):
        connection = connect_firestore(os.environ.get("FIRESTORE_EMULATOR_HOST"))
        templates = FirestoreTemplates(FirestoreDatabase(connection, target.project, target.database), collection)
        try:
            document = parse_document({"to": "preview@example.com", "template": {"name": name, "data": dict(data)}})
            message = render(document, templates, Deadline.after(_PREVIEW_SECONDS)).message
        except DeliveryFailed as error:
            raise Failed(str(error)) from error
    assert message is not None, "a rendered document has a message"  # noqa: S101
    return message

"""`send`: a mail from flags or a file, as a document or directly to the topic.

If the process dies before the write, nothing has happened; after it, the mail is processed without this command. A mail
is written or published once, under an id that is chosen here, so a publish that Pub/Sub's client retries sends once.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click

from cli import draft
from cli.clients import open_mailbox
from cli.exits import EXIT_CODES
from cli.output import Output, json_option
from cli.status import watch
from cli.target import Target
from cli.times import future, rfc3339
from cli.topics import open_topic
from shared.delivery.lanes import LANE, Traits
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES, VERSION, Message

DEFAULT_WAIT_SECONDS = 60.0

_file = click.File(encoding="utf-8")


@click.command(epilog=EXIT_CODES)
@click.argument("file", type=_file, required=False)
@click.option("--to", multiple=True, metavar="ADDRESS", help="A recipient; may be repeated, as --cc and --bcc.")
@click.option("--cc", multiple=True, metavar="ADDRESS", help="A recipient in Cc.")
@click.option("--bcc", multiple=True, metavar="ADDRESS", help="A recipient hidden from the others.")
@click.option("--from", "author", metavar="ADDRESS", help="The author; default: the sender's DEFAULT_FROM.")
@click.option("--reply-to", metavar="ADDRESS", help="The address for replies.")
@click.option("--subject", help="The subject.")
@click.option("--text", help="The plain text.")
@click.option("--text-file", type=_file, help="The plain text, from a file in UTF-8.")
@click.option("--html", help="The HTML text.")
@click.option("--html-file", type=_file, help="The HTML text, from a file in UTF-8.")
@click.option(
    "--attach",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file to attach; may be repeated.",
)
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A custom header; may be repeated.")
@click.option(
    "--send-at", metavar="TIME", help="Send no earlier than: in 2h, 3d ..., or at an ISO time (UTC by default)."
)
@click.option("--expires-at", metavar="TIME", help="Don't send after: in 10m, 2h ..., or at an ISO time.")
@click.option("--lane", help="The lane, one of the services' LANES.")
@click.option("--id", "identifier", help="The document's id; default: a random one.")
@click.option("--publish", is_flag=True, help="Publish it to the mail topic, instead of writing the document.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=DEFAULT_WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"Show the mail's progress until it has ended, for at most this time (default: {DEFAULT_WAIT_SECONDS:g}).",
)
@json_option
@click.pass_obj
def send(
    target: Target,
    /,
    file: IO[str] | None,
    identifier: str | None,
    publish: bool,
    wait: float | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Send a mail, and print the path of its document.

    The mail comes from the options, or from FILE ('-' is standard input): a mail document in JSON, or in YAML if PyYAML
    is installed. With both, the options take precedence. An invalid mail is refused here, and nothing is written.

    \b
    Examples:
      python -m cli send --to ada@example.com --subject Hello --text "How are you?" --wait
      python -m cli send order.json --to ada@example.com --id order-17
      make-report | python -m cli send --to ops@example.com --subject Report --text-file -
      python -m cli send mail.json --publish --wait=10

    With --wait, the exit code is 1 if the mail ends in ERROR, or has not ended in time.
    """
    data, mail = _compose(target, file, identifier or secrets.token_hex(10), flags)
    output = Output(as_json)
    if publish:
        _publish(target, data, mail)
    else:
        with open_mailbox(target) as mailbox:
            mailbox.create(mail.path, mail.mail or {})
    output.result({"document": mail.path}, mail.path)
    if wait is not None:
        watch(target, [mail.path], output, wait)


def _compose(target: Target, file: IO[str] | None, identifier: str, flags: dict[str, Any]) -> tuple[bytes, Message]:
    try:
        base = draft.parse_file(file.read()) if file else {}
    except ValueError as error:  # includes bytes that are not UTF-8
        raise click.BadParameter(f"{error}.", param_hint="FILE") from error
    try:
        data = draft.inline(draft.merged(base, _from_flags(flags)), identifier)
        return data, draft.checked(data, target.collection)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _from_flags(flags: dict[str, Any]) -> draft.Json:
    """The part of a mail document that comes from the options."""
    message = {
        "subject": flags["subject"],
        "text": _text(flags, "text"),
        "html": _text(flags, "html"),
        "attachments": [draft.attachment(path, path.read_bytes()) for path in flags["attach"]],
    }
    mail = {
        **{field: list(flags[field]) for field in ("to", "cc", "bcc")},
        "from": flags["author"],
        "replyTo": flags["reply_to"],
        "headers": draft.parse_headers(flags["header"]),
        "message": _given(message),
        "sendAt": _time(flags["send_at"]),
        "expiresAt": _time(flags["expires_at"]),
        "lane": flags["lane"],
    }
    return _given(mail)


def _time(given: str | None) -> str | None:
    return given and rfc3339(future(given, datetime.now(UTC)))


def _text(flags: dict[str, Any], name: str) -> str | None:
    text: str | None = flags[name]
    file: IO[str] | None = flags[f"{name}_file"]
    if text is not None and file is not None:
        raise click.UsageError(f"--{name} and --{name}-file exclude each other.")
    try:
        return file.read() if file else text
    except UnicodeDecodeError as error:
        raise click.BadParameter("it is not text in UTF-8.", param_hint=f"--{name}-file") from error


def _given(fields: draft.Json) -> draft.Json:
    """Only the given fields; an empty text counts as given."""
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != {}}


def attributes(mail: Message) -> dict[str, str]:
    """The attributes of the message with this inline mail, with its `lane` if Pub/Sub takes that."""
    lane = Traits.of(mail.mail or {}).lane or ""
    own = {LANE: lane} if 0 < len(lane.encode()) <= MAX_ATTRIBUTE_BYTES else {}
    return {"version": VERSION, "document": mail.path, **own}


def _publish(target: Target, data: bytes, mail: Message) -> None:
    if len(data) > draft.MAX_DOCUMENT_BYTES:
        raise click.UsageError("The mail is larger than 1 MiB, Firestore's limit for a document.")
    with open_topic(target) as topic:
        topic.publish(data, attributes(mail))

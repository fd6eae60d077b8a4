"""`python -m cli`: the operator's command line."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from cli.exits import EXIT_CODES
from cli.target import EMULATORS, Target, read_ready_file

#: Where each command is: its module, and its name there.
_COMMANDS: Final = {
    "send": ("cli.send", "send"),
    "status": ("cli.status", "status"),
    "find": ("cli.find", "find"),
    "list": ("cli.listing", "list_mails"),
    "counts": ("cli.counts", "counts"),
    "retry": ("cli.retry", "retry"),
    "cancel": ("cli.cancel", "cancel"),
    "adopt": ("cli.adopt", "adopt"),
    "pause": ("cli.pause", "pause"),
    "resume": ("cli.pause", "resume"),
    "dead-letters": ("cli.dead_letters", "dead_letters"),
    "template": ("cli.template", "template"),
    "check-documents": ("cli.check_documents", "check_documents"),
    "import": ("cli.importing", "import_parameters"),
    "doctor": ("cli.doctor.command", "doctor"),
    "audit": ("cli.audit", "audit"),
    "shadow": ("cli.shadow", "shadow"),
}


class _Commands(click.Group):
    """Imports a command when it is called: the others need libraries that take half a second to import."""

    def __init__(self, **options: Any) -> None:
        super().__init__(commands={name: click.Command(name) for name in _COMMANDS}, **options)  # to list and suggest

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.option("--project", envvar="GOOGLE_CLOUD_PROJECT", show_envvar=True, help="The id of the Google Cloud project.")
@click.option(
    "--database",
    envvar="DATABASE",
    show_envvar=True,
    default="(default)",
    show_default=True,
    help="Firestore database.",
)
@click.option(
    "--collection",
    envvar="MAIL_COLLECTION",
    show_envvar=True,
    default="mail",
    show_default=True,
    help="Path of the collection of mail documents.",
)
@click.option(
    "--topic", envvar="MAIL_TOPIC", show_envvar=True, default="mail", show_default=True, help="Id of the mail topic."
)
@click.option(
    "--dead-letter-subscription",
    envvar="DEAD_LETTER_SUBSCRIPTION",
    show_envvar=True,
    default="mail-dead-letter-pull",
    show_default=True,
    help="Id of a pull subscription of the dead-letter topic.",
)
@click.option(
    "--local",
    "ready_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Use the local stack that wrote this file: python -m local up --ready-file FILE.",
)
@click.pass_context
def cli(
    context: click.Context,
    project: str | None,
    database: str,
    collection: str,
    topic: str,
    dead_letter_subscription: str,
    ready_file: Path | None,
) -> None:
    """Send mail with Firepost, see its status, and repair failures.

    It uses the project in the options or the environment, with your Application Default Credentials (gcloud auth
    application-default login); or emulators, if FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST are set; or the local
    stack (--local).

    \b
    Examples:
      python -m cli send --to ada@example.com --subject Hello --text Hi --wait
      python -m cli counts
      python -m cli list --state ERROR --since 2h
      python -m cli find --to ada@example.com
      python -m cli status mail/order-17
      python -m cli retry --state ERROR --error-code auth --dry-run
      python -m cli cancel mail/order-18
      python -m cli adopt --dry-run
      python -m cli pause
      python -m cli --local /tmp/firepost.json dead-letters list
      terraform output -json | python -m cli doctor --terraform -
    """
    target = Target(project or "", database, collection, topic, dead_letter_subscription)
    context.obj = target if ready_file is None else _local(target, ready_file, context)


def _local(target: Target, ready_file: Path, context: click.Context) -> Target:
    """The local stack as the target: its addresses override the environment, and options override its names."""
    ready = read_ready_file(ready_file)
    os.environ.update(zip(EMULATORS, (ready["firestore"], ready["pubsub"]), strict=True))
    local = {"project": ready["project"], "topic": ready["topic"], "database": "(default)"}
    chosen = {name for name in local if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    named = {name: value for name, value in local.items() if name not in chosen}
    return replace(target, **named, services={name: ready[name] for name in ("dispatcher", "sender") if name in ready})


if __name__ == "__main__":
    cli(prog_name="python -m cli")

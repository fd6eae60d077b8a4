"""`import`: the configuration of Trigger Email, the extension or the function kit, as Firepost's."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from cli.env_file import Line, read
from cli.exits import EXIT_CODES, Failed
from cli.output import Output, json_option, one_line
from cli.parameters import Configuration, Result
from cli.target import Target
from cli.tfvars import command, tfvars
from cli.trigger_email import translate

COLUMNS = ("PARAMETER", "RESULT", "VARIABLE", "NOTE")
#: Characters of a file; real ones have a few thousand.
_LONGEST = 1024 * 1024


@click.command("import", epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    "destination",
    type=click.Path(dir_okay=False, path_type=Path),
    default="terraform.tfvars",
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Overwrite that file.")
@click.option("--name", default="firepost", show_default=True, help="The prefix of all names, as Terraform's variable.")
@json_option
@click.pass_obj
def import_parameters(target: Target, file: Path, destination: Path, force: bool, name: str, as_json: bool) -> None:
    """Write Terraform's variables from the parameters of Trigger Email.

    FILE is one of those that the Firebase CLI writes: extensions/INSTANCE.env of the extension ('firebase ext:export'
    exports what is installed), or a function kit's .env or .env.PROJECT. Nothing is read or changed but files.

    Each parameter is listed, with what became of it: 'same', 'differs' (with the difference), 'unused', 'to-do' (with
    what to do) or 'unknown'. Then come the commands that fill the secrets, after 'terraform apply' has created them.
    Secrets are never printed or written.

    \b
    Examples:
      python -m cli --project my-shop import extensions/firestore-send-email.env
      python -m cli --project my-shop import functions/.env.my-shop --output mail.tfvars
      python -m cli --project my-shop import extensions/newsletter.env --name newsletter --output newsletter.tfvars

    The exit code is 1 if something is left to do before Terraform can be applied.
    """
    target.check_project()
    if destination.exists() and not force:
        raise click.UsageError(f"{destination} exists: choose another --output, or --force to overwrite it.")
    lines = _read(file)
    configuration = translate({line.name: line.value for line in lines}, target.project, name)
    destination.write_text(tfvars(configuration), encoding="utf-8")
    commands = [command(secret, target.project, str(file), lines) for secret in configuration.secrets]
    output = Output(as_json)
    _show(configuration, commands, output)
    output.note(f"{destination} is written.")
    if to_do := sum(finding.result is Result.TO_DO for finding in configuration.findings):
        raise Failed(f"{to_do} to do: see the notes.")


def _read(file: Path) -> list[Line]:
    try:
        with file.open(encoding="utf-8") as opened:
            text = _whole(opened)
        lines = list(read(text))
    except ValueError as error:
        raise click.BadParameter(f"{file} is not a text file in UTF-8 of at most 1 MiB.", param_hint="FILE") from error
    bad = [str(line.number) for line in lines if not line.name]
    if bad or not lines:
        what = f"line {bad[0]} is not NAME=value" if bad else "it has no NAME=value"
        raise click.BadParameter(f"{file} is not an .env file: {what}.", param_hint="FILE")
    return lines


def _whole(file: IO[str]) -> str:
    text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError("too long")
    return text


def _show(configuration: Configuration, commands: list[str], output: Output) -> None:
    findings = configuration.findings
    if output.as_json:
        for each in findings:
            output.record(
                {"parameter": each.parameter, "result": each.result, "variable": each.place, "note": each.text}
            )
        for line in commands:
            output.record({"command": line})
        return
    output.table(COLUMNS, [(each.parameter, each.result, each.place, one_line(each.text)) for each in findings])
    for line in commands:
        output.line(f"\n{line}")

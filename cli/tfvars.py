"""Writes a configuration as Terraform's variables, and the commands that fill its secrets. Pure.

The format is that of `terraform fmt` (https://developer.hashicorp.com/terraform/language/syntax/configuration).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cli.env_file import Line
from cli.parameters import Configuration, Secret

_HEADER: Final = """\
# Trigger Email's parameters, by `python -m cli import`, as variables of infra/terraform; in a module's block, too.
# The images are to be added: docs/deploying.md.
"""

_ESCAPES: Final[Mapping[str, str]] = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def tfvars(configuration: Configuration) -> str:
    """The text of a file `terraform.tfvars`. It contains no secret."""
    variables = {name: _literal(value) for name, value in configuration.variables.items()}
    parts = [_HEADER, _aligned(variables)]
    if configuration.settings:
        settings = {name: _literal(value) for name, value in sorted(configuration.settings.items())}
        parts.append(_block("settings", settings))
    if configuration.secrets:
        secrets = {each.setting: _literal({"secret": each.id, "create": True}) for each in configuration.secrets}
        parts.append(_block("secrets", secrets))
    return "\n".join(parts)


def _aligned(assignments: Mapping[str, str], indent: str = "") -> str:
    width = max(map(len, assignments))
    return "".join(f"{indent}{name:<{width}} = {value}\n" for name, value in assignments.items())


def _block(name: str, assignments: Mapping[str, str]) -> str:
    return f"{name} = {{\n{_aligned(assignments, '  ')}}}\n"


def _literal(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Mapping():
            return "{ " + ", ".join(f"{name} = {_literal(each)}" for name, each in value.items()) + " }"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    escaped = "".join(_ESCAPES.get(each, each if each.isprintable() else f"\\u{ord(each):04x}") for each in text)
    return '"' + re.sub(r"[$%](?=\{)", r"\g<0>\g<0>", escaped) + '"'


def command(secret: Secret, project: str, file: str, lines: Iterable[Line]) -> str:
    """The shell command that fills a secret of this project, from another one or from a line of `file`.

    No secret is part of the command, or printed by it.
    """
    add = f"gcloud secrets versions add {secret.id} --project={project} --data-file=-"
    if version := secret.source.secret:
        return (
            f"gcloud secrets versions access {version.version} --secret={version.secret} --project={version.project}"
            f" | {add}"
        )
    name = secret.source.written
    [line] = [each for each in lines if each.name == name][-1:]
    if line.raw and "${" not in line.value:
        value = f"sed -n '{line.number}{{s/^[^=]*=[[:space:]]*//;s/[[:space:]]*$//;p;}}' {shlex.quote(file)}"
        return f"{value} | tr -d '\\n' | {add}"
    return f"(read -rsp 'The value of {name}: ' VALUE; printf %s \"$VALUE\" | {add})"

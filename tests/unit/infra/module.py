"""The Terraform module as text, as far as tests compare it with the code. Terraform itself checks the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "infra" / "terraform"
CORE = MODULE / "modules" / "core"
MONITORING = MODULE / "modules" / "monitoring"

#: A string. Nested ones ("${local.names["a"]}") don't occur in the module, and are not supported.
_STRING = r'"((?:[^"\\]|\\.)*)"'


def source(name: str) -> str:
    """A file of modules/core or modules/monitoring, without its comments; `name` is unique among both."""
    (path,) = [path for path in MODULE.glob(f"modules/*/{name}")]
    return _without_comments(path)


def _without_comments(path: Path) -> str:
    return "\n".join(re.sub(r"^\s*#.*|\s+# .*", "", line) for line in path.read_text().splitlines())


def sources() -> str:
    """All files of both modules."""
    return "\n".join(_without_comments(path) for path in sorted(MODULE.glob("modules/*/*.tf")))


def log_metrics() -> dict[str, dict[str, Any]]:
    """The metrics made of log entries, by name."""
    metrics: dict[str, dict[str, Any]] = json.loads((MONITORING / "log_metrics.json").read_text())
    return metrics


def alerts() -> set[str]:
    """The keys of all alerts."""
    return {*re.findall(r"^    ([a-z-]+) = \{$", local("alerts", "alerts.tf"), re.MULTILINE), "slo-burn"}


def local(name: str, file: str) -> str:
    """The text of a local value that begins and ends on separate lines."""
    found = re.search(rf"^  {name} += (.*?\n  [)\]}}]+)$", source(file), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{file} has no local {name}"
    return found.group(1)


def definitions(module: Path) -> dict[str, str]:
    """The text of each resource (`kind.name`) and local value (`local.name`) of modules/core or modules/monitoring."""
    text = "\n".join(_without_comments(path) for path in sorted(module.glob("*.tf")))
    resources = re.findall(r'^resource "(\w+)" "(\w+)" {\n(.*?)^}$', text, re.MULTILINE | re.DOTALL)
    locals_ = "".join(re.findall(r"^locals {\n(.*?)^}$", text, re.MULTILINE | re.DOTALL))
    values = re.findall(r"^  (\w+) += (.*?\n)(?=  \w+ += |\Z)", locals_, re.MULTILINE | re.DOTALL)
    return {f"{kind}.{name}": body for kind, name, body in resources} | {f"local.{name}": body for name, body in values}


def strings(text: str) -> list[str]:
    """The strings in a list."""
    return re.findall(_STRING, text)


def variable_names(text: str) -> set[str]:
    """The environment variables that a map sets: the keys, left of `=` or `=>`."""
    return set(re.findall(r'(?:^|[{,]|")\s*"?([A-Z][A-Z0-9_]+)"? +=>? ', text, re.MULTILINE))


def default(variable: str) -> str:
    """The default of a variable of the module, verbatim."""
    block = re.search(rf'^variable "{variable}" {{\n(.*?)^}}$', sources(), re.MULTILINE | re.DOTALL)
    assert block is not None, f"there is no variable {variable}"
    found = re.search(r"^  default += (.+)$", block.group(1), re.MULTILINE)
    assert found is not None, f"the variable {variable} has no default"
    return found.group(1).strip('"')

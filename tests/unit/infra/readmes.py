"""What is made from the Terraform modules' text: the root's variables and outputs, and the tables in the READMEs.

`python -m tests.unit.infra.readmes` (`make terraform-docs`) writes them; `test_readmes.py` fails if they are outdated.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.unit.infra.module import MODULE

MODULES = [MODULE, *sorted(path for path in MODULE.glob("modules/*") if path.is_dir())]
EXAMPLES = sorted(path for path in MODULE.glob("examples/*") if path.is_dir())

_BEGIN, _END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"
_MADE = "# Made from modules/* by `make terraform-docs`.\n"
#: What the root passes from one module to the other.
_INNER = {"resources"}


@dataclass(frozen=True)
class Block:
    """A variable or an output: its name, and its arguments' and inner blocks' text, in order."""

    kind: str
    name: str
    items: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str | None:
        """The text right of `name =`; None if there is none."""
        text = dict(self.items).get(name)
        return None if text is None else text.partition("=")[2].strip()

    @property
    def description(self) -> str:
        """The description as one line of Markdown."""
        text = self.value("description") or '""'
        if text.startswith("<<-"):
            return " ".join(" ".join(text.splitlines()[1:-1]).split())
        return text[1:-1].replace('\\"', '"')


def blocks(module: Path, kind: str) -> list[Block]:
    """The blocks of this kind (`variable`, `output`) of a module, in the order of its files."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(module.glob("*.tf")))
    found = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', text, re.MULTILINE | re.DOTALL)
    return [Block(kind, name, tuple(_items(body))) for name, body in found]


def _items(body: str) -> Iterator[tuple[str, str]]:
    """The items of a block, as `terraform fmt` writes them: each begins with a name, two columns in."""
    starts = list(re.finditer(r"^  (\w+) +[={]", body, re.MULTILINE))
    ends = [start.start() for start in starts[1:]] + [len(body)]
    for start, end in zip(starts, ends, strict=True):
        yield start.group(1), body[start.start() : end].rstrip()


def root_variables() -> str:
    """The text of the root's variables.tf: the modules' variables, without their validations."""
    seen: dict[str, Block] = {}
    for module in MODULES[1:]:
        for block in blocks(module, "variable"):
            if block.name not in _INNER:
                seen.setdefault(block.name, block)
    return _MADE + "".join(_without(block, "validation") for block in seen.values())


def _without(block: Block, name: str) -> str:
    lines = "\n".join(text for item, text in block.items if item != name)
    return f'\n{block.kind} "{block.name}" {{\n{lines}\n}}\n'


def root_outputs() -> str:
    """The text of the root's outputs.tf: all outputs of the modules."""
    return _MADE + "".join(
        f'\noutput "{block.name}" {{\n'
        f"{dict(block.items)['description']}\n"
        f"  value       = module.{module.name}.{block.name}\n}}\n"
        for module in MODULES[1:]
        for block in blocks(module, "output")
    )


def tables(module: Path) -> str:
    """The tables of a module's inputs and outputs."""
    inputs = sorted(blocks(module, "variable"), key=lambda block: block.name)
    outputs = sorted(blocks(module, "output"), key=lambda block: block.name)
    lines = ["### Inputs", "", "| name | description | type | default |", "|---|---|---|---|"]
    lines += [f"| `{each.name}` | {_cell(each.description)} | {_type(each)} | {_default(each)} |" for each in inputs]
    lines += ["", "### Outputs", "", "| name | description |", "|---|---|"]
    lines += [f"| `{each.name}` | {_cell(each.description)} |" for each in outputs]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(block: Block) -> str:
    return f"`{_one_line(block.value('type') or 'any')}`"


def _default(block: Block) -> str:
    default = block.value("default")
    return "(required)" if default is None else f"`{_one_line(default)}`"


def _one_line(text: str) -> str:
    """A value on one line, as `terraform fmt` would write it there."""
    lines = [line for line in textwrap.dedent(text).splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"(?<![{(\[,])\n\s*(?=\w|\")", ", ", "\n".join(lines))
    return re.sub(r"\s+", " ", joined).replace(",,", ",").replace(", }", " }").replace(", ]", "]").replace("[ ", "[")


def with_tables(module: Path) -> str:
    """The text of a module's README with its tables between the markers."""
    text = (module / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{tables(module)}{_END}{after}"


def made() -> dict[Path, str]:
    """Each file that is made, with the text that it should have."""
    root = {MODULE / "variables.tf": root_variables(), MODULE / "outputs.tf": root_outputs()}
    return root | {module / "README.md": with_tables(module) for module in [*MODULES, *EXAMPLES]}


if __name__ == "__main__":
    for path in (MODULE / "variables.tf", MODULE / "outputs.tf"):  # the root's README is made from these
        path.write_text(made()[path], encoding="utf-8")
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")

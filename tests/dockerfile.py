"""Parses a Dockerfile, and executes enough of it to test it without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The arguments: the items of the exec form's list, otherwise the words."""
        words: list[str] = json.loads(self.rest) if self.is_exec_form else self.rest.split()
        return words

    @property
    def is_exec_form(self) -> bool:
        return self.rest.startswith("[")


@dataclass(slots=True)
class Stage:
    """A build stage, started by FROM."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.word == word]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The stages by name, and the arguments before the first one with their defaults."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    @classmethod
    def read(cls, path: Path = ROOT / "Dockerfile") -> Dockerfile:
        dockerfile = cls({}, {})
        stage: Stage | None = None
        for instruction in _instructions(path.read_text()):
            match instruction.word, instruction.words if instruction.word == "FROM" else instruction.rest:
                case "FROM", [str(base), "AS", str(name)]:
                    stage = dockerfile.stages[name] = Stage(name, base)
                case "ARG", str(default) if stage is None:
                    name, _, value = default.partition("=")
                    dockerfile.arguments[name] = value
                case _ if stage is not None:
                    stage.instructions.append(instruction)
        return dockerfile

    def chain(self, name: str) -> list[Stage]:
        """The stage preceded by all stages that it is based on."""
        stage = self.stages[name]
        return [*(self.chain(stage.base) if stage.base in self.stages else []), stage]

    def setting(self, name: str, word: str) -> Instruction | None:
        """The last such instruction, which is the one in effect in the stage's image."""
        found = [instruction for stage in self.chain(name) for instruction in stage.all(word)]
        return found[-1] if found else None


def _instructions(text: str) -> Iterator[Instruction]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in code.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Instruction(word, re.sub(r" +", " ", rest.strip()))


def context(ignore: Path = ROOT / ".dockerignore") -> list[str]:
    """The files of the build context: all that `.dockerignore` does not exclude."""
    patterns = [line for line in ignore.read_text().splitlines() if line and not line.startswith("#")]
    files: list[str] = []
    for top, folders, names in os.walk(ROOT):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        files += [str((Path(top) / name).relative_to(ROOT)) for name in names]
    return [file for file in files if not _ignored(file, patterns)]


def _ignored(file: str, patterns: list[str]) -> bool:
    """The last matching pattern decides."""
    parts = Path(file).parts
    parents = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    ignored = False
    for pattern in patterns:
        plain = pattern.removeprefix("!").rstrip("/")
        if any(fnmatch(parent, plain) or fnmatch(f"/{parent}", plain.replace("**/", "*/")) for parent in parents):
            ignored = not pattern.startswith("!")
    return ignored


class Build:
    """Executes stages on this machine, with `places` in place of some of the image's folders; all stages share them."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        """`places` maps a path of the image (`/app`) to a local folder; other paths are used as they are."""
        self._places = places
        self._files = context()
        # The Python that runs the tests stands in for that of the base image.
        self._environment = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
        self._arguments: dict[str, str] = {}
        self._folder = Path("/")

    def run(self, *stages: Stage) -> dict[str, str]:
        """Execute the stages' instructions in order; returns the resulting environment."""
        for instruction in (each for stage in stages for each in stage.instructions):
            match instruction.word:
                case "ARG":
                    name, _, value = instruction.rest.partition("=")
                    self._arguments[name] = value
                case "ENV":
                    for name, _, value in (word.partition("=") for word in instruction.words):
                        self._environment[name] = self._placed(string.Template(value).substitute(self._environment))
                case "WORKDIR":
                    self._folder = Path(self._placed(instruction.rest))
                    self._folder.mkdir(exist_ok=True)
                case "COPY":
                    self._copy(instruction.words)
                case "RUN" if "pip uninstall" not in instruction.rest:  # it would uninstall from this machine
                    self._execute(instruction)
        return self._environment

    def _execute(self, instruction: Instruction) -> None:
        command = instruction.words if instruction.is_exec_form else ["sh", "-ec", instruction.rest]
        placed = [self._placed(word) for word in command]
        environment = {**os.environ, **self._arguments, **self._environment}
        done = subprocess.run(placed, cwd=self._folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{instruction}\n{done.stdout}\n{done.stderr}"

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        if sources[0].startswith("--from="):
            assert Path(self._placed(sources[1])).exists()
            return
        for source in sources:
            plain = source.rstrip("/")
            copied = [file for file in self._files if file == plain or file.startswith(f"{plain}/")]
            assert copied, f"COPY {source}: .dockerignore excludes all of it"
            for file in copied:
                to = self._folder / self._placed(target) / Path(file).relative_to(plain if file != plain else ".")
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, to)

    def _placed(self, text: str) -> str:
        names = "|".join(map(re.escape, self._places))
        return re.sub(rf"(?<![\w/.])({names})(?![\w-])", lambda found: str(self._places[found[1]]), text)

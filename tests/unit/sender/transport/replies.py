"""What mail servers were reported to answer, and what it means: replies.tsv, one reply a line.

Texts are shortened, names and addresses replaced. The source says who was reported to give the reply: the provider's
documentation, or a public report. "own variation" is ours, of the same kind as its neighbours.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from sender.transport.smtp.replies import Reply, Step
from shared.errors import ErrorCode

OWN = "own variation"


@dataclass(frozen=True)
class Said:
    """`wait` is in how many seconds the server wants to be asked again, if it says so or its limit is for a day."""

    provider: str
    step: Step
    code: ErrorCode
    wait: float | None
    lines: tuple[str, ...]
    source: str

    @property
    def reply(self) -> Reply:
        return Reply(int(self.lines[0][:3]), tuple(line[4:] for line in self.lines))

    def __str__(self) -> str:
        return f"{self.provider}: {self.lines[0][:60]}"


def _read() -> tuple[Said, ...]:
    with (Path(__file__).parent / "replies.tsv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Said(provider, Step[step], ErrorCode(code), float(wait) if wait else None, tuple(reply.split("|")), source)
        for provider, step, code, wait, reply, source in rows
    )


SAID = _read()

"""Reads replies.tsv: real replies of mail servers, one per line, with the expected classification.

Texts are shortened; names and addresses are replaced. The source is the provider's documentation or a public report.
"own variation" marks a made-up reply similar to its neighbours.
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
    """A reply; `wait` is the expected wait in seconds, if it announces one or its limit is per day."""

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

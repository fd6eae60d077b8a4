"""What a check has found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`unknown`: the check could not be made, for lack of a permission or of an answer. `skipped`: does not apply."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong, in one sentence without a full stop, and what to do about it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `remedy` says what to do; it is empty if nothing is wrong."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether nothing is left to be done or looked at."""
        return self.verdict in (Verdict.OK, Verdict.SKIPPED)


def judged(check: str, faults: Sequence[Fault], detail: str) -> Finding:
    """All faults together as WRONG; OK with this detail if there are none."""
    if not faults:
        return Finding(check, Verdict.OK, detail)
    remedies = dict.fromkeys(fault.remedy for fault in faults)
    return Finding(check, Verdict.WRONG, "; ".join(fault.text for fault in faults), "; ".join(remedies))


def unknown(check: str, why: str) -> Finding:
    """The check could not be made."""
    return Finding(check, Verdict.UNKNOWN, why)


def skipped(check: str, why: str) -> Finding:
    """The check does not apply here."""
    return Finding(check, Verdict.SKIPPED, why)


def summary(findings: Sequence[Finding]) -> str:
    """How many checks are wrong, and how many could not be made."""
    count = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    text = f"{len(findings)} checks: {count[Verdict.OK]} fine, {count[Verdict.WRONG]} wrong"
    if count[Verdict.UNKNOWN]:
        text += f", {count[Verdict.UNKNOWN]} that could not be made"
    return text + (f", {count[Verdict.SKIPPED]} that do not apply." if count[Verdict.SKIPPED] else ".")

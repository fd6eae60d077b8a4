"""What would become of documents: composed as a sender does, but not sent, and the faults grouped. Pure.

No text of a group has content of a document: errors name fields and kinds of values (`sender.document.fields`), and
what could tell documents apart within one kind of fault, indexes and amounts found, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sender.message.compose import Mail
from shared.errors import Deferred, DeliveryFailed, ErrorCode, Unavailable

#: Paths that are kept for each group.
EXAMPLES: Final = 3
#: Groups that are kept; documents with other faults only count.
_MOST_GROUPS: Final = 1_000
_LONGEST: Final = 500

_SENTENCE: Final = re.compile(r"(?<=\.) (?=Field ')")
_INDEX: Final = re.compile(r"\.\d+\b")
_AMOUNT: Final = re.compile(r"\d[\d,.]*\d|\d")


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: an error, which has a code, or a warning."""

    code: ErrorCode | None
    text: str


@dataclass(slots=True)
class Group:
    """The documents with the same kind of fault: how many, and the first paths."""

    fault: Fault
    documents: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcomes:
    """The outcomes so far, in bounded memory. `errors` and `warned` count documents, `kept_short` faults left out."""

    documents: int = 0
    errors: int = 0
    warned: int = 0
    kept_short: int = 0
    _groups: dict[Fault, Group] = field(default_factory=dict)

    def add(self, path: str, faults: set[Fault]) -> None:
        """Count a document with its faults."""
        self.documents += 1
        is_error = any(fault.code for fault in faults)
        self.errors += is_error
        self.warned += bool(faults) and not is_error
        for fault in faults:
            if fault not in self._groups and len(self._groups) >= _MOST_GROUPS:
                self.kept_short += 1
                continue
            group = self._groups.setdefault(fault, Group(fault))
            group.documents += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(path)

    def groups(self) -> list[Group]:
        """Errors first, and in each kind the most frequent first."""
        return sorted(
            self._groups.values(), key=lambda group: (group.fault.code is None, -group.documents, group.fault.text)
        )


def faults_of(fields: Mapping[str, Any], compose: Callable[[Mapping[str, Any]], Mail]) -> set[Fault]:
    """What would be wrong with a document. Raises `Unavailable` if users or templates can't be read."""
    try:
        mail = compose(fields)
    except DeliveryFailed as failure:
        return {Fault(failure.code, text) for text in _shapes(str(failure))}
    except (Deferred, Unavailable) as error:
        raise Unavailable(str(error)) from error
    except Exception as error:  # the sender, too, makes an ERROR of a fault in its own code
        return {Fault(ErrorCode.VALIDATION, f"The mail could not be composed ({type(error).__name__}).")}
    warnings = {Fault(None, text) for warning in mail.warnings for text in _shapes(warning)}
    if mail.missing_uids:
        warnings.add(Fault(None, "Some user ids have no e-mail address in USERS_COLLECTION: they would be left out."))
    if mail.withheld:
        warnings.add(Fault(None, "Some recipients would be withheld (RECIPIENTS_ALLOWED, RECIPIENTS_REDIRECT)."))
    return warnings


def _shapes(text: str) -> Iterator[str]:
    """The sentences of an error, without what differs between documents with the same fault."""
    for sentence in _SENTENCE.split(text):
        before, found, after = sentence.partition(", found ")
        yield (_INDEX.sub(".*", before) + found + _AMOUNT.sub("N", after))[:_LONGEST]

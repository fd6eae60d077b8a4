"""Firestore's database, its indexes and time to live, and documents that nothing has read. Pure.

A field without a setting of its own has that of the map that it is in, and in the end the default, which is all indexes
(https://firebase.google.com/docs/firestore/query-data/index-overview#single-field_index_exemptions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.doctor.answers import APPLY, Answer, items, judge, mapping, text
from cli.doctor.finding import Fault, Finding, judged, skipped
from cli.doctor.installation import Installation

#: The fields that are queried, each with what fails without its index.
QUERIED = {
    "delivery.state": "the reconciler fails without it",
    "delivery.nextAttemptTime": "the reconciler fails without it",
    "delivery.errorCode": "counts, list --error-code and retry --error-code fail without it",
}
EXPIRY = "delivery.expireAt"


def kind(names: Installation, answer: Answer) -> Finding:
    """Whether the database has events and the indexes that the module knows: Native mode, Standard edition."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        found = (text(data, "type") or "unknown", text(data, "databaseEdition") or "STANDARD")
        if found == ("FIRESTORE_NATIVE", "STANDARD"):
            return []
        return [Fault(f"it is {' '.join(found)}, not FIRESTORE_NATIVE STANDARD", "docs/deploying.md#prerequisites")]

    return judge("database", answer, names.database, faults, "Native mode, Standard edition")


def indexes(names: Installation, answer: Answer) -> Finding:
    """Whether all queried fields are indexed, and no index of the collection is unfinished."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        settings = _index_settings(data)
        return [*_lacking(settings), *_unfinished(settings)]

    return judge("indexes", answer, names.database, faults, f"{len(QUERIED)} queried fields have theirs")


def _index_settings(data: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The indexes of each field that has a setting of its own."""
    return {
        _path(field): items(field, "indexConfig", "indexes")
        for field in items(data, "fields")
        if "indexConfig" in field and mapping(field, "indexConfig").get("usesAncestorConfig") is not True
    }


def _path(field: Mapping[str, Any]) -> str:
    return text(field, "name").rpartition("/fields/")[2].replace("`", "")


def _lacking(settings: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[Fault]:
    for field, failing in QUERIED.items():
        own = next((settings[each] for each in _upwards(field) if each in settings), None)
        if own is not None and not any(_is_ascending(index) for index in own):
            yield Fault(f"{field} has no ascending index", f"{APPLY}; {failing}")


def _upwards(field: str) -> Iterator[str]:
    """The field, and the maps that it is in, from the inside out."""
    while field:
        yield field
        field = field.rpartition(".")[0]


def _is_ascending(index: Mapping[str, Any]) -> bool:
    return any(text(each, "order") == "ASCENDING" for each in items(index, "fields"))


def _unfinished(settings: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[Fault]:
    for field, indexes in settings.items():
        for state in sorted({text(index, "state") for index in indexes} - {"READY"}):
            remedy = (
                "wait; a large collection takes hours" if state == "CREATING" else f"remove the setting, then {APPLY}"
            )
            yield Fault(f"an index of {field} is {state or 'in no state'}", remedy)


def time_to_live(names: Installation, answer: Answer, dispatcher: Answer) -> Finding:
    """Whether Firestore deletes documents, if the services are set to write when."""
    wanted = _setting(dispatcher, "TTL_EXPIRE_TYPE") not in ("", "never")

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        states = [text(each, "ttlConfig", "state") for each in items(data, "fields") if _path(each) == EXPIRY]
        state = next((state for state in states if state), "")
        if state == "ACTIVE" or not (state or wanted):
            return []
        if state == "CREATING":
            return [Fault("Firestore is still setting it up", "wait; a large collection takes hours")]
        return [Fault(f"Firestore does not delete documents by {EXPIRY} ({state or 'no setting'})", APPLY)]

    detail = f"documents are deleted by {EXPIRY}" if wanted else "documents are kept"
    return judge("ttl", answer, names.database, faults, detail)


def _setting(service: Answer, name: str) -> str:
    for container in items(service.data, "template", "containers"):
        for variable in items(container, "env"):
            if text(variable, "name") == name:
                return text(variable, "value")
    return ""


@dataclass(frozen=True, slots=True)
class Counted:
    """Documents, counted one after the other while mails move on: all, those with a state, those on their way."""

    all: int
    with_state: int
    on_their_way: int

    @property
    def unread(self) -> int:
        """Documents without a state: nothing has read their event yet. Those written meanwhile may hide some."""
        return max(self.all - self.with_state, 0)

    @property
    def may_be_new(self) -> bool:
        """Whether those may just have been written: no more than mails are on their way after that."""
        return self.unread <= self.on_their_way


def unread(counted: Counted) -> Finding:
    """Whether there are documents that nothing has read, so that their mails are never sent."""
    if not counted.all:
        return skipped("documents", "there are none")
    if counted.may_be_new:
        new = f"; {counted.unread:,} are new" if counted.unread else ""
        return judged("documents", [], f"{counted.all:,}, each read by the dispatcher{new}")
    lost = Fault(
        f"{counted.unread:,} of {counted.all:,} have no delivery.state: their events were lost, or came to nothing",
        "python -m cli adopt --dry-run",
    )
    return judged("documents", [lost], "")

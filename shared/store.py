"""Claim, finish, mark: the state machine's writes, each fenced.

The fast way is one write, conditional on what was last known. Where that turns out stale, a transaction reads the
document again and the decision is taken anew. Decisions are `shared.delivery`'s, requests `shared.database`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import tenacity

from shared.database import Database, Snapshot, Stale, Version, nested
from shared.delivery import concluded, ending, message_id_stem, on_message, on_release, on_result, released
from shared.errors import InvalidMessage, Unavailable
from shared.policy import Policy
from shared.states import Changes, Decision, Known, Lease, Reason, Result, State
from shared.values import decode_time

#: Seconds for which a claim or a mark is repeated while Firestore fails; then redelivery is the better repetition.
CLAIM_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that this process alone may make: its lease, and the mail as it was when it was claimed.

    `known` is what was decided from, which stands in `fields` as well.
    """

    path: str
    lease: Lease
    fields: Mapping[str, Any]
    known: Known
    message_id_stem: str
    version: Version


class MailStore:
    """The mail documents, as far as deliveries change them.

    Methods raise `Unavailable` when Firestore fails for longer than they are patient, and `Unwritable` when it
    refuses the document itself.
    """

    def __init__(
        self,
        database: Database,
        policy: Policy,
        finish_patience: float = CLAIM_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`finish_patience`: seconds for which writing a result is repeated while Firestore fails."""
        self._database = database
        self._policy = policy
        self._patiently = patience(CLAIM_PATIENCE, sleep)
        self._most_patiently = patience(finish_patience, sleep)

    def claim(
        self, path: str, now: datetime, mail: Mapping[str, Any] | None = None, written: Lease | None = None
    ) -> Claim | Decision:
        """Try to begin an attempt at `now`; a `Decision` comes back when there is none to make.

        Where `mail` is given and there is no document, it is created with it, claimed in the same write. `written` is
        a lease that this sender may have written already, if there was no answer. Raises `InvalidMessage`
        (`id-conflict`) when the document there holds another mail.
        """

        def decide(snapshot: Snapshot | None) -> tuple[Decision, Changes | None]:
            nonlocal written
            decision = on_message(known_of(snapshot), now, self._policy, written)
            written = decision.lease or written
            return decision, decision.write

        def attempt() -> Claim | Decision:
            if mail is not None and (created := self._create(path, mail, decide)):
                return begun(*created)
            snapshot = self._database.get(path)
            if mail is not None and snapshot is not None:
                _refuse_another(mail, snapshot)
            decision, changes = decide(snapshot)
            if snapshot is None or changes is None:
                return begun(decision, snapshot, None)
            try:
                version = self._database.update(path, changes, snapshot.version)
                return begun(decision, snapshot, version)
            except Stale:
                return begun(*self._database.transact(path, decide))

        return self._patiently(attempt)

    def finish(self, claim: Claim, result: Result, now: datetime, jitter: float) -> Reason:
        """Write what became of an attempt that ended at `now`, if it is still this claim's to write.

        `jitter`, random from 0 to 1, spreads the next attempt if there is to be one.
        """
        changes = concluded(result, claim.lease.attempt, now, self._policy, jitter)

        def attempt() -> Reason:
            try:
                self._database.update(claim.path, changes, claim.version)
                return Reason.FINISHED
            except Stale:
                return self._transact(claim.path, lambda known, _: on_result(known, claim.lease, changes, now)).reason

        return self._most_patiently(attempt)

    def ending(self, claim: Claim, result: Result) -> State:
        """The state that `finish` writes for this result, if the document is still this claim's."""
        return ending(result, claim.lease.attempt, self._policy)

    def release(self, claim: Claim, next_attempt: datetime | None = None) -> Reason:
        """Undo a claim under which nothing has been sent; `next_attempt` is when the mail is to be tried again."""

        def attempt() -> Reason:
            try:
                self._database.update(claim.path, released(claim.lease, next_attempt), claim.version)
                return Reason.RELEASED
            except Stale:
                return self._transact(claim.path, lambda known, _: on_release(known, claim.lease, next_attempt)).reason

        return self._patiently(attempt)

    def settle(self, path: str, decide: Callable[[Known | None, datetime | None], Decision]) -> Decision:
        """Decide about a document as it is, and write what was decided, in one transaction.

        `decide` is also told when the document was last written.
        """

        return self._patiently(lambda: self._transact(path, decide))

    def mark(self, path: str, changes: Changes, version: Version) -> bool:
        """Write what was decided from an event; False if the document has changed since, which is no error."""

        def attempt() -> bool:
            try:
                self._database.update(path, changes, version)
                return True
            except Stale:
                return False

        return self._patiently(attempt)

    def _transact(self, path: str, decide: Callable[[Known | None, datetime | None], Decision]) -> Decision:
        def in_transaction(snapshot: Snapshot | None) -> tuple[Decision, Changes | None]:
            decision = decide(known_of(snapshot), decode_time(snapshot.version) if snapshot else None)
            return decision, decision.write

        decision, _, _ = self._database.transact(path, in_transaction)
        return decision

    def _create(
        self,
        path: str,
        mail: Mapping[str, Any],
        decide: Callable[[Snapshot], tuple[Decision, Changes | None]],
    ) -> tuple[Decision, Snapshot, Version] | None:
        decision, changes = decide(Snapshot(path, dict(mail), datetime.min, Version()))
        try:
            version = self._database.create(path, {**mail, **nested(changes or {})})
        except Stale:
            return None
        return decision, Snapshot(path, dict(mail), decode_time(version), version), version


def patience(seconds: float, sleep: Callable[[float], None]) -> tenacity.Retrying:
    """What calls a function again while Firestore is unavailable; it holds nothing of a single call, so one will do."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
        stop=tenacity.stop_after_delay(seconds),
        sleep=sleep,
        reraise=True,
    )


def known_of(snapshot: Snapshot | None) -> Known | None:
    """What decisions need to know of a document."""
    return Known.of(snapshot.fields) if snapshot else None


def begun(decision: Decision, snapshot: Snapshot | None, version: Version | None) -> Claim | Decision:
    """The claim, where the decision is to make an attempt; `version` is that of the write, if there was one."""
    if decision.lease is None or snapshot is None:
        return decision
    known = Known.of(snapshot.fields)
    stem = message_id_stem(snapshot.path, snapshot.created, known.delivery, decision)
    return Claim(snapshot.path, decision.lease, snapshot.fields, known, stem, version or snapshot.version)


def _refuse_another(mail: Mapping[str, Any], snapshot: Snapshot) -> None:
    held = {name: value for name, value in snapshot.fields.items() if name != "delivery"}
    match snapshot.fields.get("delivery"):
        case {"redacted": True}:  # the same mail delivered again must not look like another one
            same = _is_left_of(held, mail)
        case _:
            same = held == mail
    if not same:
        raise InvalidMessage("id-conflict", f"The document {snapshot.path} exists and holds another mail.")


def _is_left_of(rest: Any, whole: Any) -> bool:
    """Whether `rest` is `whole`, or would be but for fields that were taken out of its maps."""
    if not (isinstance(rest, Mapping) and isinstance(whole, Mapping)):
        return bool(rest == whole)
    return all(name in whole and _is_left_of(value, whole[name]) for name, value in rest.items())

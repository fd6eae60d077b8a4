"""Claim, finish, release, mark: the state machine's writes, all of them conditional.

The fast path takes many documents: one request, in which each write is conditional on the last known version of its
document and has its own outcome. It is tried once. If a document has changed, or Firestore refuses or does not answer,
the outcome is a `Conflict`, which the caller resolves for that document: a transaction reads the document again,
decides anew, and retries while Firestore fails. Decisions are made in `machine`, requests in
`shared.firestore.database`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import tenacity

from shared.delivery import history
from shared.delivery.machine import (
    SENDING,
    concluded,
    entry_of,
    message_seed,
    on_message,
    on_release,
    on_result,
    on_sending,
    released,
    while_paused,
)
from shared.delivery.model import DELETE, FINAL, Changes, Decision, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import Policy
from shared.errors import FirepostError, InvalidMessage, Unavailable
from shared.firestore.database import Database, Snapshot, Stale, Unwritable, Version, Write, nested
from shared.firestore.values import decode_fields, decode_time, encode_fields

_T = TypeVar("_T")

#: Seconds for which a claim or a mark is retried while Firestore fails; after that, redelivery is the better retry.
RETRY_SECONDS = 5.0

#: The only change to a mail's content that adds to the document (STORE_RENDERED).
_RENDERED = "delivery.rendered"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A request to begin an attempt at `now`. `mail`, if given, becomes the document if there is none.

    `paused`: all mail is paused, so there will be no attempt.
    """

    path: str
    now: datetime
    mail: Mapping[str, Any] | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that only this process may make: its lease, and the mail as it was when claimed.

    `known` is the state the decision was based on; `fields` contains it, too. `seed` is `machine.message_seed`.
    `earlier` are the attempts before this one.
    """

    path: str
    lease: Lease
    fields: Mapping[str, Any]
    known: DocumentState
    seed: str
    version: Version
    earlier: Sequence[history.Entry] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """The fast path failed; `written` is a lease that the document may nevertheless hold."""

    written: Lease | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The result of an attempt that ended at `at`; `jitter`, random from 0 to 1, spreads the next attempt, if any."""

    claim: Claim
    result: Result
    at: datetime
    jitter: float


@dataclass(frozen=True, slots=True)
class Release:
    """A claim given back before anything was sent; `next_attempt` is when to try again, if known.

    `notes` are the changes that say what the mail waits for.
    """

    claim: Claim
    next_attempt: datetime | None = None
    notes: Changes | None = None


#: How a claim ends.
Ending = Finish | Release


class MailStore:
    """The writes of deliveries to mail documents. Methods that take several documents raise nothing."""

    def __init__(
        self,
        database: Database,
        policy: Policy,
        finish_retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """The retry limits are in seconds: `finish_retry_seconds` for results, `retry_seconds` for everything else."""
        self._database = database
        self._policy = policy
        self._finish_retry_seconds = finish_retry_seconds
        self._retry_seconds = retry_seconds
        self._sleep = sleep

    @property
    def notes_sending(self) -> bool:
        """Whether nothing may be sent before `sending` has noted it."""
        return self._policy.notes_sending

    # Many documents

    def claim(self, requests: Sequence[ClaimRequest]) -> list[Claim | Decision | Conflict]:
        """Begin attempts at different existing documents; the answer is a `Decision` if there is no attempt to make."""
        found = self._database.read([request.path for request in requests])
        outcomes = {each.path: self._decided(each, document) for each, document in zip(requests, found, strict=True)}
        writes = {path: write for path, outcome in outcomes.items() if (write := outcome.write) is not None}
        written = dict(zip(writes, self._database.write([*writes.values()]), strict=True))
        return [outcome.after(written.get(path)) for path, outcome in outcomes.items()]

    def sending(self, claims: Sequence[Claim]) -> list[Version | Conflict]:
        """Note of claims on different documents that their mails are about to be handed over: the new versions."""
        outcomes = self._database.write([Write(claim.path, SENDING, claim.version) for claim in claims])
        return [Conflict() if isinstance(outcome, FirepostError) else outcome for outcome in outcomes]

    def end(self, endings: Sequence[Ending]) -> list[Decision | Conflict]:
        """Write how claims on different documents end, unless a document has changed since the claim.

        Decisions about unchanged documents have no `known`.
        """
        writes = [Write(each.claim.path, self._ended(each), each.claim.version) for each in endings]
        outcomes = self._database.write(writes)
        return [
            Conflict() if isinstance(outcome, FirepostError) else _written(each)
            for each, outcome in zip(endings, outcomes, strict=True)
        ]

    def mark(self, writes: Sequence[Write]) -> list[bool | FirepostError]:
        """Write what was decided from events; False for a document that has changed since, which is not an error.

        Writes that fail because Firestore does are retried. Of an ERROR, as much is written as fits.
        """
        outcomes: dict[str, Version | FirepostError] = {write.path: Unavailable() for write in writes}

        def attempt() -> None:
            left = [write for write in writes if isinstance(outcomes[write.path], Unavailable)]
            outcomes.update(zip((write.path for write in left), self._database.write(left), strict=True))
            if failure := next((each for each in outcomes.values() if isinstance(each, Unavailable)), None):
                raise failure

        with suppress(Unavailable):
            self._retry(attempt)
        return [_mark(self._fitted(write, outcomes[write.path])) for write in writes]

    # One document: these raise `Unavailable` when Firestore fails for too long, and `Unwritable` when it refuses the
    # document itself.

    def claim_alone(self, request: ClaimRequest, written: Lease | None = None) -> Claim | Decision:
        """Begin an attempt in a transaction, or by creating the document; a `Decision` if there is no attempt to make.

        `written` is a lease that this sender may have written already. Raises `InvalidMessage` (`id-conflict`) if the
        document holds another mail.
        """

        def decide(snapshot: Snapshot | None) -> tuple[Decision, Changes | None]:
            nonlocal written
            if request.mail is not None and snapshot is not None:
                _refuse_another(request.mail, snapshot)
            decision = self._on_message(_known(snapshot), request, written)
            written = decision.lease or written
            return decision, decision.write

        def attempt() -> Claim | Decision:
            if request.mail is not None and (created := self._create(request.path, request.mail, decide)):
                return _begun(*created)
            return _begun(*self._database.transact(request.path, decide))

        return self._retry(attempt)

    def sending_alone(self, claim: Claim) -> Version | None:
        """As `sending`, in a transaction. None if the claim does not own the document any more: send nothing."""

        def decide(snapshot: Snapshot | None) -> tuple[Decision, Changes | None]:
            decision = on_sending(_known(snapshot), claim.lease)
            return decision, decision.write

        return self._retry(lambda: self._database.transact(claim.path, decide)[2])

    def end_alone(self, ending: Ending) -> Decision:
        """Write how a claim ends, as far as the claim still owns the document, in a transaction.

        If the document is so close to 1 MiB that the result does not fit, the history is dropped; then only the outcome
        and what removes content (redaction) are written, or at least the state.
        """
        with suppress(Unwritable):
            return self._end_in_transaction(ending)
        if isinstance(ending, Finish):
            for shorter in (ending, replace(ending, result=_without_details(ending.result))):
                with suppress(Unwritable):
                    return self._end_in_transaction(shorter, _without_history)
        return self._end_in_transaction(ending, _only_state)

    def transact(
        self,
        path: str,
        decide: Callable[[DocumentState | None, datetime | None], Decision],
        retry_seconds: float | None = None,
    ) -> Decision:
        """Decide about a document as it is, and write the decision, in one transaction.

        `decide` gets the document's state and when it was last written.
        """

        def in_transaction(snapshot: Snapshot | None) -> tuple[Decision, Changes | None]:
            known = _known(snapshot)
            decision = replace(decide(known, decode_time(snapshot.version) if snapshot else None), known=known)
            return decision, decision.write

        return self._retry(lambda: self._database.transact(path, in_transaction)[0], retry_seconds)

    def conclude(self, path: str, decide: Callable[[DocumentState | None, datetime | None], Decision]) -> Decision:
        """As `transact`, but of an ERROR, as much is written as fits into the document."""
        *earlier, last = (None, *_SHORTER)
        for shorten in earlier:
            with suppress(Unwritable):
                return self.transact(path, lambda *known, shorten=shorten: _shortened(decide(*known), shorten))
        return self.transact(path, lambda *known: _shortened(decide(*known), last))

    def _fitted(self, write: Write, outcome: Version | FirepostError) -> Version | FirepostError:
        """The outcome of a mark, after shorter ones if it was an ERROR for which the document has no room."""
        for shorten in _SHORTER:
            if isinstance(outcome, Unwritable) and (shorter := shorten(write.changes)) is not write.changes:
                [outcome] = self._database.write([replace(write, changes=shorter)])
        return outcome

    def _decided(self, request: ClaimRequest, found: Snapshot | FirepostError | None) -> _ClaimPlan:
        if isinstance(found, FirepostError):
            return _ClaimPlan(None, None)
        return _ClaimPlan(self._on_message(_known(found), request), found)

    def _on_message(self, known: DocumentState | None, request: ClaimRequest, written: Lease | None = None) -> Decision:
        decision = on_message(known, request.now, self._policy, written)
        if request.paused and known is not None:
            decision = while_paused(decision, known, request.now, self._policy)
        return replace(decision, known=known)

    def changes_after(self, ending: Ending) -> Changes:
        """The changes that this end of a claim leads to if the claim still owns the document."""
        match ending:
            case Finish(claim, result, at, jitter):
                return concluded(result, claim.lease.attempt, at, self._policy, jitter, claim.known.expires_at)
            case Release(claim, next_attempt, notes):  # pragma: no branch (no ending is left, says mypy)
                return released(claim.lease, next_attempt, claim.known.expires_at, notes)

    def _ended(self, ending: Ending) -> Changes:
        """The changes to a document that has not changed since the claim."""
        changes = self.changes_after(ending)
        if isinstance(ending, Release):
            return changes
        return self._with_entry(changes, ending, changes, ending.claim.earlier)

    def _with_entry(
        self, write: Changes, finish: Finish, changes: Changes, earlier: Sequence[history.Entry]
    ) -> Changes:
        """The write with the attempt's entry after the `earlier` ones; `changes` are those of the result."""
        entry = entry_of(finish.result, changes["delivery.state"], finish.claim.lease, finish.at, self._policy)
        attempts = history.recorded(earlier, entry)
        if "delivery.redacted" in write:
            attempts = history.without_responses(attempts)
        return {**write, "delivery.history": attempts}

    def _end_in_transaction(self, ending: Ending, shorten: _Shorten | None = None) -> Decision:
        lease = ending.claim.lease

        def decide(known: DocumentState | None, _: datetime | None) -> Decision:
            match ending:
                case Finish(_, result, at, jitter):
                    decision = on_result(known, lease, result, at, self._policy, jitter)
                    if decision.write is not None and known is not None and known.delivery is not None:
                        changes = decision.write if "delivery.state" in decision.write else self.changes_after(ending)
                        write = self._with_entry(decision.write, ending, changes, known.delivery.history)
                        decision = replace(decision, write=write)
                case Release(_, next_attempt, notes):  # pragma: no branch (no ending is left, says mypy)
                    decision = on_release(known, lease, next_attempt, notes)
            return _shortened(decision, shorten)

        seconds = self._finish_retry_seconds if isinstance(ending, Finish) else None
        return self.transact(ending.claim.path, decide, seconds)

    def _create(
        self,
        path: str,
        mail: Mapping[str, Any],
        decide: Callable[[Snapshot | None], tuple[Decision, Changes | None]],
    ) -> tuple[Decision, Snapshot, Version] | None:
        decision, changes = decide(Snapshot(path, dict(mail), datetime.min, Version()))
        [outcome] = self._database.write([Write(path, {**mail, **nested(changes or {})}, version=None)])
        if isinstance(outcome, Stale):
            return None
        if isinstance(outcome, FirepostError):
            raise outcome
        # Decoded as every other document is, so that a repeated attempt composes the same mail.
        fields = decode_fields(encode_fields(mail))
        return decision, Snapshot(path, fields, decode_time(outcome), outcome), outcome

    def _retry(self, attempt: Callable[[], _T], seconds: float | None = None) -> _T:
        """Call `attempt` again while Firestore is unavailable."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            stop=tenacity.stop_after_delay(self._retry_seconds if seconds is None else seconds),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(attempt)


@dataclass(frozen=True, slots=True)
class _ClaimPlan:
    """The decision about a document as it was read; None if it could not be read."""

    decision: Decision | None
    snapshot: Snapshot | None

    @property
    def write(self) -> Write | None:
        if self.decision is None or self.snapshot is None or self.decision.write is None:
            return None
        return Write(self.snapshot.path, self.decision.write, self.snapshot.version)

    def after(self, outcome: Version | FirepostError | None) -> Claim | Decision | Conflict:
        """The answer, once the outcome of the write (if there was one) is known."""
        if self.decision is None:
            return Conflict()
        if isinstance(outcome, FirepostError):
            return Conflict(self.decision.lease)
        return _begun(self.decision, self.snapshot, outcome)


def _begun(decision: Decision, snapshot: Snapshot | None, version: Version | None) -> Claim | Decision:
    """The claim, if the decision is to make an attempt; `version` is that of the write, if there was one."""
    known = decision.known
    if decision.lease is None or snapshot is None or known is None:
        return decision
    seed = message_seed(snapshot.path, snapshot.created, known.delivery, decision)
    earlier = known.delivery.history if known.delivery else ()
    attempts = (decision.write or {}).get("delivery.history", earlier)
    return Claim(snapshot.path, decision.lease, snapshot.fields, known, seed, version or snapshot.version, attempts)


def _known(snapshot: Snapshot | None) -> DocumentState | None:
    return DocumentState.of(snapshot.fields) if snapshot else None


def _written(ending: Ending) -> Decision:
    return Decision(Reason.FINISHED if isinstance(ending, Finish) else Reason.RELEASED)


def _mark(outcome: Version | FirepostError) -> bool | FirepostError:
    match outcome:
        case Stale():
            return False
        case FirepostError():
            return outcome
    return True


_Shorten = Callable[[Changes], Changes]


def _shortened(decision: Decision, shorten: _Shorten | None) -> Decision:
    return decision if decision.write is None or shorten is None else replace(decision, write=shorten(decision.write))


def _without_history(changes: Changes) -> Changes:
    """The changes that record an attempt, but removing the history instead; other changes as they are."""
    return {**changes, "delivery.history": DELETE} if "delivery.history" in changes else changes


def _brief(length: int, changes: Changes) -> Changes:
    """An ERROR in place of the whole `delivery`, whatever that contains; other changes as they are.

    `length` is that of its text, in characters.
    """
    if changes.get("delivery.state") is not State.ERROR:
        return changes
    error = str(changes["delivery.error"])[:length]
    return {"delivery": {"state": State.ERROR, "errorCode": changes["delivery.errorCode"], "error": error}}


def _only_state(changes: Changes) -> Changes:
    """Of a final state only its word, which is not longer than the one before it, and what removes content.

    Other changes as they are.
    """
    if changes.get("delivery.state") not in FINAL:
        return changes
    return {
        path: value
        for path, value in changes.items()
        if path == "delivery.state" or value is DELETE or not path.startswith("delivery.")
    }


#: Ways to say ERROR in less and less room. The third is shorter than the claim for which there was none.
_SHORTER: Final[Sequence[_Shorten]] = (_without_history, partial(_brief, 100), partial(_brief, 30), _only_state)


def _without_details(result: Result) -> Result:
    """The result without the parts that may be long.

    What removes content stays. The next attempt, if any, must not reach recipients again whose outcome is dropped here.
    """
    return Result(
        result.state,
        error=result.error and result.error[:100],
        error_code=result.error_code,
        warnings=("The rest of the result did not fit into the document.",),
        unsettled=result.unsettled and result.progress is None,
        retry_after=result.retry_after,
        retained={path: value for path, value in result.retained.items() if path != _RENDERED or value is DELETE},
    )


def _refuse_another(mail: Mapping[str, Any], snapshot: Snapshot) -> None:
    held = {name: value for name, value in snapshot.fields.items() if name != "delivery"}
    match snapshot.fields.get("delivery"):
        case {"redacted": True}:  # a redelivery of the same mail must not look like a different one
            same = _is_subset(held, mail)
        case _:
            same = held == mail
    if not same:
        raise InvalidMessage("id-conflict", f"The document {snapshot.path} exists and holds another mail.")


def _is_subset(rest: Any, whole: Any) -> bool:
    """Whether `rest` equals `whole`, apart from fields that were removed from its maps."""
    if not (isinstance(rest, Mapping) and isinstance(whole, Mapping)):
        return bool(rest == whole)
    return all(name in whole and _is_subset(value, whole[name]) for name, value in rest.items())

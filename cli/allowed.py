"""What the tables of `shared.delivery.machine` allow a service to log. Pure.

An entry says what a decision was made from, as far as numbers, states and fixed words can, and what it was. Here the
state machine decides again, about every document that fits the entry. If no decision is the logged one, the entry is a
finding. So there is no second list of transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, lru_cache
from itertools import product
from typing import Final

from cli.fitting import LONG_AGO, NOW, SECOND, Entry, documents, representative, state_of_word
from shared.delivery.machine import (
    after_pause,
    concluded,
    on_dead_letter,
    on_event,
    on_message,
    on_reconcile,
    on_release,
    on_result,
    while_paused,
)
from shared.delivery.model import (
    FINAL,
    MOST_ATTEMPTS,
    Decision,
    Delivery,
    DocumentState,
    Lease,
    Reason,
    Result,
    State,
    state_of,
)
from shared.delivery.policy import LONGEST_LEASE_SECONDS, UNSENT_RETRIES, Policy
from shared.errors import ErrorCode
from shared.observability.events import Event

_GIVEN_UP: Final = Result(State.ERROR, error="", error_code=ErrorCode.DEAD_LETTER)
#: Why a sender declines a message before it reads the document.
_BEFORE_READING: Final = (Reason.BUSY, Reason.RELEASED)
#: How an attempt ends in which the mail server has got the mail, or may have.
_HANDED_OVER: Final = ("sent", ErrorCode.UNKNOWN)
#: The sender and its log read the clock one after the other.
_CLOCKS_APART_MS: Final = 100.0
#: The fields that checks depend on; the times are in milliseconds.
_CHECKED: Final = (
    *("event", "reason", "before", "after", "published", "refused", "written", "acknowledged"),
    *("attempt", "attempts", "continued", "unsent", "unsettled", "expired", "found", "found_attempt", "held", "left"),
)
_TIMES: Final = ("lease_ms", "due_ms", "expires_ms", "marked_after_ms")
#: What becomes of a dead letter that concludes no document; `dispatcher.dead_letters` has the words.
_WITHOUT_DECISION: Final = ("refused", "unwritable", Reason.DELETED)


def fault(entry: Entry, policy: Policy) -> str | None:
    """Why the tables do not allow this log entry; None if they do, or if it is not about a decision."""
    try:
        return _too_late(entry) or _impatient(entry, policy) or _fault(tuple(_reduced(entry)), policy)
    except (KeyError, TypeError, ValueError, OverflowError):
        return "a field is missing or of another type: this is no entry of Firepost's"


def _too_late(entry: Entry) -> str | None:
    """Why an attempt at a mail that expires came too late, or the next one would."""
    expires = entry.get("expires_ms")
    if entry.get("event") != Event.ATTEMPT or expires is None:
        return None
    begun, following = entry.get("begun_ms"), entry.get("next_ms")
    if entry.get("reason") in _HANDED_OVER and begun is not None and begun > expires + _CLOCKS_APART_MS:
        return f"the mail was handed over {begun - expires:.0f} ms after it had expired"
    if entry.get("after") == State.RETRY and following is not None and following > expires:
        return f"another attempt was to follow {following - expires:.0f} ms after the mail expires"
    return None


def _impatient(entry: Entry, policy: Policy) -> str | None:
    """Why a mail whose server was out should have waited for it, or no longer; not told of one that expires."""
    noted, ended = entry.get("outage_ms"), NOW + timedelta(milliseconds=entry.get("duration_ms") or 0.0)
    since = None if noted is None else NOW + timedelta(milliseconds=noted)
    is_waiting = entry.get("event") == Event.DEFERRAL and entry.get("reason") == "outage"
    if is_waiting and _patience_left(ErrorCode.CONNECTION, since, NOW, policy) is None:
        return f"the mail had waited for its server for {-(noted or 0) / 1000:.0f} s, and was to wait on"
    if entry.get("event") == Event.ATTEMPT and entry.get("outage") and entry.get("expires_ms") is None:
        # Without the code, which a mail has not that somebody got before: the shortest patience.
        code = ErrorCode(entry["reason"]) if entry["reason"] in set(ErrorCode) else ErrorCode.AUTH
        if all(_patience_left(code, since, at, policy) is not None for at in (NOW, ended)):
            return "the mail server was out, and the mail did not wait for it"
    return None


def _patience_left(code: ErrorCode, since: datetime | None, now: datetime, policy: Policy) -> timedelta | None:
    return policy.outage_pause(code, policy.outage_since(since, now), now, timedelta())


def _reduced(entry: Entry) -> Iterator[tuple[str, object]]:
    """What checks depend on, with few different times, so that equal decisions are checked once.

    Cloud Logging makes every number a float, and may leave out what is null.
    """
    for name in _CHECKED:
        if name in entry:
            value = entry[name]
            yield name, int(value) if isinstance(value, float) and value.is_integer() else value
    for name in _TIMES:
        if entry.get(name) is not None:
            yield name, representative(entry[name])


@lru_cache(maxsize=10_000)
def _fault(items: tuple[tuple[str, object], ...], policy: Policy) -> str | None:
    entry = dict(items)
    check = _CHECKS.get(str(entry.get("event")))
    return check(entry, policy) if check else None


def fault_of_ending(reason: str, unsettled: bool | None, attempt: int, after: str | None, policy: Policy) -> str | None:
    """Why an attempt with this number can't end with `reason` (`sent`, or an error code) in the state `after`.

    `unsettled` is None if it is not known.
    """
    states = {
        concluded(_result(reason, each), attempt, NOW, policy, 0.5)["delivery.state"]
        for each in ([True, False] if unsettled is None else [unsettled])
    }
    if after in states:
        return None
    return f"attempt {attempt} ended with '{reason}' in {after}, expected {' or '.join(sorted(states))}"


def _result(reason: str, unsettled: bool) -> Result:
    if reason == "sent":
        return Result(State.SUCCESS, unsettled=unsettled)
    code = ErrorCode(reason) if reason in set(ErrorCode) else None
    return Result(State.ERROR, error_code=code, unsettled=unsettled)


def _numbers(entry: Entry, policy: Policy) -> tuple[int, ...]:
    """The number of attempts in the document, or those that stand for all others: before and after each limit."""
    if "attempts" in entry:
        return (entry["attempts"],)
    return 0, policy.max_attempts, policy.max_attempts + UNSENT_RETRIES


# One check for each event


def _change(entry: Entry, policy: Policy) -> str | None:
    if (entry.get("marked_after_ms") or 0) < 0:
        return _MARKED_FIRST
    olds: list[DocumentState | None] = [*documents({}, entry.get("before"))]
    news: list[DocumentState | None] = [*documents(entry, entry.get("after"), _numbers(entry, policy))]
    for word, found in ((entry.get("before"), olds), (entry.get("after"), news)):
        if word is None:
            found.append(None)
    decided = [
        each for old, new in product(olds, news) for each in _or_paused(on_event(old, new, NOW, policy), new, policy)
    ]
    publishes = bool(entry.get("published") or entry.get("refused"))
    for each in decided:
        has_write = each.write is not None or entry.get("written") is None
        if (each.reason, each.publish) == (entry.get("reason"), publishes) and has_write:
            return None
    return _unexpected(entry, decided, "published" if publishes else "not published")


def _ignored(entry: Entry, policy: Policy) -> str | None:
    if entry.get("reason") in _ignorable(policy):
        return None
    return f"events were ignored with the reason '{entry.get('reason')}', which calls for a message or a write"


@cache
def _ignorable(policy: Policy) -> frozenset[str]:
    """The reasons for which the dispatcher does nothing and logs nothing else."""
    times = [None, -1000.0, 1000.0]
    found = [
        document
        for state, lease, due, expires in product([None, *State], times, times, times)
        for document in documents({"lease_ms": lease, "due_ms": due, "expires_ms": expires}, state)
    ]
    olds = [None, *(each for state in [None, *State] for each in documents({}, state))]
    decided = (
        each
        for old, new in product(olds, [None, *found])
        for each in _or_paused(on_event(old, new, NOW, policy), new, policy)
    )
    return frozenset(each.reason for each in decided if not each.publish and each.write is None) - {
        Reason.UNKNOWN_STATE
    }


def _message(entry: Entry, policy: Policy) -> str | None:
    if "acknowledged" not in entry:  # logged by an older version
        return None
    if entry.get("reason") == Reason.OTHER_LANE:
        return None if entry["acknowledged"] else "a message of another lane was not acknowledged"
    if entry.get("reason") in _BEFORE_READING:
        return "a message was acknowledged though nobody had read its document" if entry["acknowledged"] else None
    found: list[DocumentState | None] = [*documents(entry, entry.get("before"), _numbers(entry, policy))]
    if entry.get("before") is None:
        found.append(None)
    decided = [each for known in found for each in _or_paused(on_message(known, NOW, policy), known, policy)]
    if any((each.reason, each.acknowledge) == (entry.get("reason"), entry["acknowledged"]) for each in decided):
        return None
    return _unexpected(entry, decided, "acknowledged" if entry["acknowledged"] else "not acknowledged")


def _attempt(entry: Entry, policy: Policy) -> str | None:
    return (
        _claim(entry, policy)
        or _ending(entry, policy)
        or _end(entry, _results(entry, policy), (Reason.FINISHED, Reason.DELETED, Reason.OUTDATED))
    )


def _ending(entry: Entry, policy: Policy) -> str | None:
    """Check the state after an attempt: without another one, if the mail has been cancelled or expires before."""
    unsettled = bool(entry.get("unsettled"))
    if entry.get("expired") and not _may_run_out_of_time(entry, unsettled, policy):
        return f"attempt {entry['attempt']} ended with '{entry.get('reason')}', which is not 'expired'"
    if entry.get("written") == Reason.CANCELLED or entry.get("expires_ms") is not None:
        unsettled = unsettled and entry.get("after") == State.RETRY
    return fault_of_ending(str(entry.get("reason")), unsettled, entry["attempt"], entry.get("after"), policy)


def _may_run_out_of_time(entry: Entry, unsettled: bool, policy: Policy) -> bool:
    """Whether the end of an attempt becomes `expired` if the mail expires before another one."""
    if entry.get("expires_ms") is None:
        return False
    result = _result(str(entry.get("reason")), unsettled)
    changes = concluded(result, entry["attempt"], NOW, policy, 0.5, expires_at=NOW)
    return changes["delivery.errorCode"] is ErrorCode.EXPIRED


def _deferral(entry: Entry, policy: Policy) -> str | None:
    def decide(known: DocumentState | None, lease: Lease) -> Decision:
        return on_release(known, lease)

    return _claim(entry, policy) or _end(entry, [decide], (Reason.RELEASED, Reason.OUTDATED))


def _claim(entry: Entry, policy: Policy) -> str | None:
    if entry.get("continued"):
        return None
    attempt = entry["attempt"]
    decided = [on_message(each, NOW, policy) for each in documents(entry, entry.get("before"), (attempt - 1,))]
    if any(each.lease is not None for each in decided) or attempt >= MOST_ATTEMPTS:
        return None
    return f"{_what(entry)} was claimed; allowed: {_allowed(decided)}"


_End = Callable[[DocumentState | None, Lease], Decision]


def _results(entry: Entry, policy: Policy) -> Iterator[_End]:
    """`on_result` for all results that lead to the entry's state `after`; the document's times may be theirs or not."""
    after = State(entry["after"]) if entry.get("after") in set(State) else State.ERROR
    retried, pause = after is State.RETRY, timedelta(minutes=1)
    state = State.ERROR if retried else after
    result = Result(state, info={}, error="", unsettled=retried, retry_after=pause.total_seconds())
    patient = replace(policy, max_attempts=MOST_ATTEMPTS + 1)
    for time in (LONG_AGO, NOW):
        ended = time - pause if retried else time

        def end(known: DocumentState | None, lease: Lease, ended: datetime = ended) -> Decision:
            return on_result(known, lease, result, ended, patient, 0.5)

        yield end


def _end(entry: Entry, decisions: Iterable[_End], unchanged: Collection[str]) -> str | None:
    """Check how an attempt's end was written; `unchanged` are the reasons if the document was unchanged or gone."""
    if "held" not in entry:
        return None if entry.get("written") in unchanged else f"'{entry.get('written')}' without a changed document"
    lease = Lease(entry["attempt"], NOW + SECOND)
    expires = [lease.expires] if entry["held"] else [None, NOW]
    found = [
        DocumentState(
            Delivery(
                state_of_word(entry.get("found")),
                attempts=entry["found_attempt"],
                lease_expire_time=each,
                end_time=NOW,
                next_attempt_time=NOW,
                error_code=code,
            )
        )
        for each, code in product(expires, (None, ErrorCode.LEASE_EXPIRED))
    ]
    decided = [(known, decide(known, lease)) for known, decide in product(found, [*decisions])]
    for known, each in decided:
        written = (each.write or {}).get("delivery.state")
        # A result that did not fit into its document may be final where another attempt was to follow.
        left = {State.RETRY, *FINAL} if written is State.RETRY else {written or state_of(known)}
        if each.reason == entry.get("written") and entry.get("left") in left:
            return None
    held = "with" if entry["held"] else "without"
    seen = f"{entry.get('found')} at attempt {entry['found_attempt']}, {held} the lease"
    return (
        f"the end of attempt {entry['attempt']} found {seen}: '{entry.get('written')}', leaving {entry.get('left')}; "
        f"allowed: {_allowed([each for _, each in decided])}"
    )


def _reconciliation(entry: Entry, policy: Policy) -> str | None:
    if (entry.get("marked_after_ms") or 0) < 0:
        return _MARKED_FIRST
    decided = [
        each
        for known, updated in product(documents(entry, entry.get("before"), _numbers(entry, policy)), (LONG_AGO, NOW))
        for each in _or_paused(on_reconcile(known, updated, NOW, policy), known, policy)
    ]
    if entry.get("reason") == Reason.RESUMED:
        decided += [after_pause(known, NOW, NOW, policy) for known in _put_off(entry)]
    before, after = entry.get("before"), entry.get("after")
    for each in decided:
        written = (each.write or {}).get("delivery.state", before)
        if each.reason == entry.get("reason") and (
            after in (before, written) or (each.publish and after == State.ERROR)
        ):
            return None
    return _unexpected(entry, decided, f"leaving {after}")


def _dead_letter(entry: Entry, policy: Policy) -> str | None:
    if "before" not in entry or entry.get("reason") in _WITHOUT_DECISION:
        return None
    found = documents(entry, entry["before"], _numbers(entry, policy), (None, LONG_AGO, NOW))
    decided = [
        on_dead_letter(known, changed, given_up, NOW, _GIVEN_UP, policy)
        for known, changed, given_up in product(found, (True, False), (True, False))
    ]
    return None if any(each.reason == entry.get("reason") for each in decided) else _unexpected(entry, decided)


_CHECKS: Final[Mapping[str, Callable[[Entry, Policy], str | None]]] = {
    Event.CHANGE: _change,
    Event.IGNORED: _ignored,
    Event.MESSAGE: _message,
    Event.ATTEMPT: _attempt,
    Event.DEFERRAL: _deferral,
    Event.RECONCILIATION: _reconciliation,
    Event.DEAD_LETTER: _dead_letter,
}

#: What the entries are about that can be checked.
CHECKED_EVENTS: Final = frozenset(_CHECKS)


def _or_paused(decision: Decision, known: DocumentState | None, policy: Policy) -> list[Decision]:
    """The decision, and what becomes of it while all mail is paused: the entry does not say whether it was."""
    return [decision] if known is None else [decision, while_paused(decision, known, NOW, policy)]


def _put_off(entry: Entry) -> list[DocumentState]:
    """The documents that fit, if they were put off by `next_look`: due whole days after they were queued."""
    due = timedelta(milliseconds=representative(entry["due_ms"]))
    return documents(entry, entry.get("before"), starts=(NOW + due - timedelta(days=1),))


_MARKED_FIRST: Final = "the document was marked before its message was published"


# Sentences


def _unexpected(entry: Entry, decided: Iterable[Decision], done: str = "") -> str:
    return f"{_what(entry)}: '{entry.get('reason')}'{f', {done}' if done else ''}; allowed: {_allowed(decided)}"


def _what(entry: Entry) -> str:
    texts = [str(entry.get("before") or "a new document")]
    if entry.get("event") == Event.CHANGE:
        texts = [f"{texts[0]} became {entry.get('after') or 'a new document'}"]
    if (lease := entry.get("lease_ms")) is not None:
        kind = "a live" if 0 < lease <= LONGEST_LEASE_SECONDS * 1000 else "nobody's" if lease > 0 else "an expired"
        texts.append(f"with {kind} lease")
    if (due := entry.get("due_ms")) is not None:
        texts.append("due later" if due > 0 else "due")
    return ", ".join(texts)


def _allowed(decided: Iterable[Decision]) -> str:
    return " or ".join(sorted({each.reason.value for each in decided}))

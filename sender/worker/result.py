"""Turns a server's answer into the result that is written to the document. Pure functions.

An automatic retry leaves out the recipients that an earlier attempt has settled: those that the server accepted or
refused for good. Their outcome is carried along in `delivery.info`. Like all of `delivery`, that is input: it can leave
out recipients that the document itself names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sender.message.compose import Mail
from sender.transport.envelope import Receipt
from shared.delivery.model import MAX_TEXT, Result, State
from shared.errors import DeliveryFailed, ErrorCode, NotLoaded, NotSent, Outage, OutcomeUnknown

#: Failures that a retry may cure. Permanent refusals (5xx), refused logins and invalid documents are not among them.
#: Whether an unknown outcome is retried is the policy's decision.
TRANSIENT = frozenset({ErrorCode.CONNECTION, ErrorCode.THROTTLED, ErrorCode.TEMPORARY, ErrorCode.UNKNOWN})

MAX_WARNINGS: Final = 20
_MAX_WARNING: Final = 500
#: The longest list in `info`, in bytes of UTF-8: room for the addresses of 1,000 recipients of usual length.
MAX_LIST_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Earlier:
    """What `delivery.info`, kept as `info`, says about earlier attempts at the same mail.

    The addresses may be any: `Mail.settled` has those of them that are the document's recipients.
    """

    accepted: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    response: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settled(self) -> frozenset[str]:
        """The addresses that another attempt must leave out."""
        return self.accepted | self.rejected

    def lists(self, mail: Mail) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The accepted and the rejected among the mail's own recipients."""
        accepted = tuple(address for address in mail.settled if address in self.accepted)
        return accepted, tuple(address for address in mail.settled if address not in self.accepted)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Earlier | None:
        """From a claimed document's fields; None if the attempt is for all of its recipients.

        That is also so if `info` is not as Firepost writes it.
        """
        match fields.get("delivery"):
            case {
                "resumes": True,
                "info": {
                    "accepted": list(accepted),
                    "rejected": list(rejected),
                    "pending": [_, *_] as pending,
                    "response": str() | None as response,
                } as info,
            } if all(isinstance(address, str) for address in (*accepted, *rejected, *pending)):
                return cls(frozenset(accepted), frozenset(rejected), response, info)
        return None


def result_of_receipt(mail: Mail, receipt: Receipt, earlier: Earlier | None) -> Result:
    """The result of an attempt in which the server accepted the mail for at least one recipient."""
    accepted, rejected = (earlier or Earlier()).lists(mail)
    info = _info(
        mail,
        accepted=accepted + receipt.accepted,
        rejected=rejected + receipt.rejected,
        pending=receipt.pending,
        response=receipt.response,
        queue_id=receipt.queue_id,
        transport=receipt.transport,
    )
    warnings = (*mail.warnings, *receipt.warnings)
    result = bounded(
        Result(
            State.SUCCESS,
            info=info,
            warnings=warnings,
            unsettled=bool(receipt.pending),
            progress=info,
            retry_after=receipt.retry_after,
        )
    )
    return _of_attempt(result, mail, receipt.response, receipt.transport)


def result_of_failure(failure: DeliveryFailed, mail: Mail | None, earlier: Earlier | None) -> Result:
    """The result of an attempt that reached no recipient, or whose outcome is unknown.

    `mail` is None if it could not be composed. If an earlier attempt reached a recipient, the state is SUCCESS.
    """
    wait = failure.retry_after if isinstance(failure, NotSent) else None
    result = replace(bounded(_failed(failure, mail, earlier)), retry_after=wait, outage=isinstance(failure, Outage))
    return _of_attempt(result, mail, str(failure), failure.transport)


def _of_attempt(result: Result, mail: Mail | None, response: str, transport: str | None) -> Result:
    """The result with what the history says about this attempt alone; `transport` is the one that took over, if any."""
    if mail is None:
        return replace(result, response=response)
    return replace(
        result, transport=transport or mail.envelope.transport, message_id=mail.message_id, response=response
    )


def as_expired(failure: DeliveryFailed) -> DeliveryFailed:
    """The failure, seen after the mail has expired: if it is temporary, and nothing was sent, that is the reason."""
    if isinstance(failure, OutcomeUnknown) or not _is_transient(failure):
        return failure
    expired = NotSent(ErrorCode.EXPIRED, f"The mail expired ('expiresAt') before a server could take it. {failure}")
    expired.rejected = failure.rejected if isinstance(failure, NotSent) else ()
    return expired


def bounded(result: Result) -> Result:
    """The result with texts and lists of a known maximum, so that it fits into the document.

    `progress` stays whole: the next attempt needs every address in it.
    """
    return replace(
        result,
        error=result.error and cut(result.error, MAX_TEXT),
        warnings=_some(result.warnings),
        info=result.info and _cut_lists(result.info),
    )


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with a mark that says how much is missing; at most `limit` characters."""
    if len(text) <= limit:
        return text
    mark = f" … ({len(text):,} characters)"
    return text[: limit - len(mark)] + mark


def _some(warnings: tuple[str, ...]) -> tuple[str, ...]:
    kept = tuple(cut(warning, _MAX_WARNING) for warning in warnings[:MAX_WARNINGS])
    return (*kept, f"{len(warnings) - MAX_WARNINGS:,} more") if len(warnings) > MAX_WARNINGS else kept


def _cut_lists(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `info` with long lists cut; `omitted` then has the number of missing entries by list."""
    lists = {name: value for name, value in info.items() if isinstance(value, list)}
    kept = {name: list(_within(value, MAX_LIST_BYTES)) for name, value in lists.items()}
    omitted = {name: len(value) - len(kept[name]) for name, value in lists.items() if len(kept[name]) < len(value)}
    return {**info, **kept, "omitted": omitted} if omitted else info


def _within(texts: Iterable[str], limit: int) -> Iterable[str]:
    for text in texts:
        limit -= len(text.encode("utf-8", "replace"))
        if limit < 0:
            return
        yield text


def _failed(failure: DeliveryFailed, mail: Mail | None, earlier: Earlier | None) -> Result:
    is_transient = _is_transient(failure)
    refused = failure.rejected if isinstance(failure, NotSent) else ()
    if mail is None and earlier:
        return _unchanged(failure, earlier, is_transient)
    if mail is None or not (earlier or refused):
        return _error(failure, mail, unsettled=is_transient)
    before = earlier or Earlier()
    accepted, rejected = before.lists(mail)
    pending = tuple(recipient for recipient in mail.envelope.recipients if recipient not in refused)
    info = _info(mail, accepted, rejected + refused, pending, before.response)
    if accepted:
        return Result(
            State.SUCCESS, info=info, warnings=mail.warnings, unsettled=is_transient and bool(pending), progress=info
        )
    return _error(failure, mail, unsettled=is_transient, progress=info)


def _is_transient(failure: DeliveryFailed) -> bool:
    return failure.code in TRANSIENT or isinstance(failure, NotLoaded)


def _unchanged(failure: DeliveryFailed, earlier: Earlier, is_transient: bool) -> Result:
    """The result of a retry whose mail could not be composed: nothing changes for any recipient."""
    if earlier.accepted:
        return Result(State.SUCCESS, unsettled=is_transient, progress=earlier.info)
    return _error(failure, None, unsettled=is_transient, progress=earlier.info)


def _error(
    failure: DeliveryFailed, mail: Mail | None, unsettled: bool, progress: Mapping[str, Any] | None = None
) -> Result:
    return Result(
        State.ERROR,
        error=str(failure),
        error_code=failure.code,
        warnings=mail.warnings if mail else (),
        unsettled=unsettled,
        progress=progress,
    )


def _info(
    mail: Mail,
    accepted: tuple[str, ...],
    rejected: tuple[str, ...],
    pending: tuple[str, ...],
    response: str | None,
    queue_id: str | None = None,
    transport: str | None = None,
) -> dict[str, Any]:
    """The `info` map with Trigger Email's keys."""
    return {
        "messageId": mail.message_id,
        "sendgridQueueId": queue_id and cut(queue_id, MAX_TEXT),
        "accepted": list(accepted),
        "rejected": list(rejected),
        "pending": list(pending),
        "response": response and cut(response, MAX_TEXT),
        **({"transport": transport} if transport else {}),
        **({"missingUids": list(mail.missing_uids)} if mail.missing_uids else {}),
        **({"withheld": list(mail.withheld)} if mail.withheld else {}),
    }

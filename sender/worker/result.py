"""From what a mail server said to what the document will say: pure, one attempt after another.

When a mail is tried again by itself, recipients whose fate is settled are left out, and what is known of them is
carried along in `delivery.info`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sender.message.compose import Mail
from sender.transport.envelope import Receipt
from shared.delivery.model import Result, State
from shared.errors import DeliveryFailed, ErrorCode, NotLoaded, NotSent

#: Failures that time may mend. Not among them are refusals for good (5xx), a login that is refused, and the document's
#: own faults; whether a mail whose outcome is unknown may be sent again is policy's to say.
PASSING = frozenset({ErrorCode.CONNECTION, ErrorCode.THROTTLED, ErrorCode.TEMPORARY, ErrorCode.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts at the same mail have settled; `pending` are the recipients that are left.

    `info` is all of that as it stands in the document.
    """

    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    response: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Earlier | None:
        """Read a claimed document; None where the attempt is for all of its recipients."""
        match fields.get("delivery"):
            case {
                "resumes": True,
                "info": {
                    "accepted": list(accepted),
                    "rejected": list(rejected),
                    "pending": [_, *_] as pending,
                    "response": str() | None as response,
                } as info,
            }:
                return cls(tuple(accepted), tuple(rejected), tuple(pending), response, info)
        return None


def result_of_receipt(mail: Mail, receipt: Receipt, earlier: Earlier | None) -> Result:
    """The result of an attempt in which the server took the mail for someone."""
    before = earlier or Earlier()
    info = _info(
        mail,
        accepted=before.accepted + receipt.accepted,
        rejected=before.rejected + receipt.rejected,
        pending=receipt.pending,
        response=receipt.response,
        queue_id=receipt.queue_id,
    )
    warnings = (*mail.warnings, *receipt.warnings)
    return Result(
        State.SUCCESS,
        info=info,
        warnings=warnings,
        unsettled=bool(receipt.pending),
        progress=info,
        retry_after=receipt.retry_after,
    )


def result_of_failure(failure: DeliveryFailed, mail: Mail | None, earlier: Earlier | None) -> Result:
    """The result of an attempt in which nobody got the mail, or (unknown) nobody can say.

    `mail` is None where it could not even be composed. If an earlier attempt reached someone, the whole is a success.
    """
    wait = failure.retry_after if isinstance(failure, NotSent) else None
    return replace(_failed(failure, mail, earlier), retry_after=wait)


def _failed(failure: DeliveryFailed, mail: Mail | None, earlier: Earlier | None) -> Result:
    may_pass = failure.code in PASSING or isinstance(failure, NotLoaded)
    refused = failure.rejected if isinstance(failure, NotSent) else ()
    if mail is None and earlier:
        return _unchanged(failure, earlier, may_pass)
    if mail is None or not (earlier or refused):
        return _error(failure, mail, unsettled=may_pass)
    before = earlier or Earlier()
    left = tuple(recipient for recipient in mail.envelope.recipients if recipient not in refused)
    info = _info(mail, before.accepted, before.rejected + refused, left, before.response)
    if before.accepted:
        return Result(
            State.SUCCESS, info=info, warnings=mail.warnings, unsettled=may_pass and bool(left), progress=info
        )
    return _error(failure, mail, unsettled=may_pass, progress=info)


def _unchanged(failure: DeliveryFailed, earlier: Earlier, may_pass: bool) -> Result:
    """The result of an attempt for the rest of the recipients that did not even have a mail for them."""
    if earlier.accepted:
        return Result(State.SUCCESS, unsettled=may_pass, progress=earlier.info)
    return _error(failure, None, unsettled=may_pass, progress=earlier.info)


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
) -> dict[str, Any]:
    """Trigger Email's `info`, key by key."""
    return {
        "messageId": mail.message_id,
        "sendgridQueueId": queue_id,
        "accepted": list(accepted),
        "rejected": list(rejected),
        "pending": list(pending),
        "response": response,
    } | ({"missingUids": list(mail.missing_uids)} if mail.missing_uids else {})

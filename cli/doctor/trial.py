"""Test mails: what they are, when their story is told, and what it says about each hop. Pure.

A document's `delivery` tells where a mail is. The dispatcher writes PENDING after it has published the message; the
sender writes PROCESSING when it claims the mail, and the result with the mail server's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cli.doctor.finding import Fault, Finding, Verdict, judged
from cli.mail import Mail
from cli.output import one_line, printable
from shared.delivery.model import QUEUED, State

KILOBYTE: Final = 1024
#: Eventarc's limit for an event, which holds a new document once and a changed one twice
#: (https://cloud.google.com/eventarc/docs/quotas).
LARGEST_EVENT: Final = 512 * KILOBYTE
#: Seconds for which a document that is too large for an event is watched after all others have ended.
GRACE_SECONDS: Final = 10.0
#: Characters of a server's answer or an error.
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Trial:
    """One kind of test mail. Its document's id is `firepost-doctor-RUN-` and `ending`; it has at least `size` bytes."""

    check: str
    kind: str
    ending: str
    size: int = 0

    @property
    def is_too_large(self) -> bool:
        """Whether its document may get no event."""
        return self.size > LARGEST_EVENT

    def path(self, collection: str, run: str) -> str:
        """The document's path."""
        return f"{collection}/firepost-doctor-{run}-{self.ending}"

    def fields(self, address: str, run: str, now: datetime) -> dict[str, Any]:
        """The document. What makes it large is in a field of its own, so that the mail itself stays small."""
        fields: dict[str, Any] = {
            "to": [address],
            "message": {
                "subject": f"Firepost doctor {run}: {self.kind}",
                "text": f"A test mail of 'python -m cli doctor', written at {now:%Y-%m-%d %H:%M:%S} UTC.\n",
            },
        }
        if self.size:
            fields["firepostDoctorPadding"] = "x" * self.size
        return fields


TRIALS: Final = (
    Trial("mail-ordinary", "an ordinary id", "1"),
    Trial(
        "mail-space", "an id that ends in a space", "2 "
    ),  # can't be an HTTP header, so its event comes as an envelope
    Trial("mail-300-kb", "a document of 300 KB", "3", 300 * KILOBYTE),
    Trial("mail-600-kb", "a document of 600 KB", "4", 600 * KILOBYTE),
)


def is_over(trials: Mapping[Trial, Mail | None], waited: float, quiet: float, patience: float) -> bool:
    """Whether there is nothing more to wait for.

    `waited` and `quiet` are the seconds since the last mail was written, and since any of them last changed.
    """
    if waited >= patience:
        return True
    running = [(trial, mail) for trial, mail in trials.items() if mail is not None and not mail.ended]
    may_stay_unseen = all(trial.is_too_large and not mail.state for trial, mail in running)
    return not running or (may_stay_unseen and quiet >= GRACE_SECONDS)


def story(trial: Trial, mail: Mail | None, waited: float) -> Finding:
    """What became of a test mail after `waited` seconds; None: its document is gone."""
    if mail is None:
        fault = Fault(f"{trial.kind}: the document is gone", "does something else delete or move mail documents?")
        return judged(trial.check, [fault], "")
    if mail.state == State.SUCCESS:
        return Finding(trial.check, Verdict.OK, f"{trial.kind}: {_success(mail)}")
    if not mail.state and trial.is_too_large:
        detail = f"{trial.kind}: too large for an event, as expected; python -m cli adopt finds such documents"
        return Finding(trial.check, Verdict.OK, detail)
    return judged(trial.check, [_stopped(trial, mail, waited)], "")


def may_be_deleted(trial: Trial, mail: Mail | None) -> bool:
    """Whether a document tells nothing more. Those of failed mails are kept, as evidence."""
    return mail is not None and (mail.state == State.SUCCESS or (trial.is_too_large and not mail.state))


def _success(mail: Mail) -> str:
    delivery = mail.delivery or {}
    queued, ended = delivery.get("startTime"), delivery.get("endTime")
    seconds = [
        f"{word} after {max((time - mail.created).total_seconds(), 0):.1f} s"
        for word, time in (("published", queued), ("accepted and written", ended))
        if isinstance(time, datetime)
    ]
    return f"event seen, {', '.join(seconds)}: {_brief(mail.info.get('response'))}"


def _stopped(trial: Trial, mail: Mail, waited: float) -> Fault:
    """The hop at which the mail has stopped. Its document is named, because it is kept."""
    delivery = mail.delivery or {}
    where = f"{trial.kind} ({printable(mail.path)!r} is kept)"
    match mail.state:
        case "":
            return Fault(
                f"{where}: nothing has seen its event within {waited:.0f} s",
                "trigger, events-subscription, callers, dispatcher: docs/operating.md#events-failing",
            )
        case State.ERROR:
            code = one_line(mail.error_code) or "no code"
            return Fault(
                f"{where}: claimed, and ended in ERROR, {code}: {_brief(delivery.get('error'))}",
                "docs/operating.md#error-ratio; python -m sender check",
            )
        case State.PROCESSING:
            return Fault(
                f"{where}: claimed, but no result was written within {waited:.0f} s: the mail server does not answer",
                "docs/operating.md#stalled; python -m sender check",
            )
    if mail.state in QUEUED and (due := delivery.get("nextAttemptTime")):
        return Fault(
            f"{where}: put off until {_brief(due)}: {_brief(delivery.get('error') or 'no mail goes out')}",
            "docs/operating.md#stalled, step 2",
        )
    if mail.state in QUEUED:
        return Fault(
            f"{where}: event seen and message published, but no sender has claimed it within {waited:.0f} s",
            "mail-subscription, callers, sender: docs/operating.md#stalled",
        )
    return Fault(f"{where}: something else has set its state to {_brief(mail.state)}", "find out what writes delivery")


def _brief(text: object) -> str:
    """Text from a mail server or a document, on one line; at most 200 characters."""
    words = one_line(str(text or "no text"))
    return words if len(words) <= _LONGEST_TEXT else f"{words[:_LONGEST_TEXT]} …"

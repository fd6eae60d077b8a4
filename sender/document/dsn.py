"""Reads a document's request for delivery status notifications (RFC 3461).

`message.dsn` is nodemailer's map (https://nodemailer.com/smtp/dsn/): `{id, return, notify, recipient}`, including
nodemailer's aliases for these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sender.document.fields import Fields

#: RFC 3461 sections 4.4 and 4.2, in characters after encoding as xtext.
MAX_ENVID, MAX_ORCPT = 100, 500 - len("rfc822;")

_RETURN = {"HEADERS": "HDRS", "HDRS": "HDRS", "FULL": "FULL", "BODY": "FULL"}
_EVENTS = ("SUCCESS", "FAILURE", "DELAY")


@dataclass(frozen=True, slots=True)
class Dsn:
    """The values of the SMTP parameters, encoded; None means the server's default.

    `envelope_id` (ENVID) is repeated in each notification, `returned` (RET) says how much of the mail is returned (FULL
    or HDRS), `notify` (NOTIFY) lists the events, `recipient` (ORCPT) is the original recipient.
    """

    envelope_id: str | None = None
    returned: str | None = None
    notify: str | None = None
    recipient: str | None = None

    def mail_parameters(self) -> Iterator[str]:
        """The parameters of MAIL FROM."""
        if self.returned:
            yield f"RET={self.returned}"
        if self.envelope_id:
            yield f"ENVID={self.envelope_id}"

    def rcpt_parameters(self) -> Iterator[str]:
        """The parameters of each RCPT TO."""
        if self.notify:
            yield f"NOTIFY={self.notify}"
        if self.recipient:
            yield f"ORCPT={self.recipient}"


def read_dsn(message: Fields) -> Dsn | None:
    """Read the map's `dsn`; faults are recorded in the map."""
    fields = message.map("dsn")
    if fields is None:
        return None
    return Dsn(
        envelope_id=_xtext(fields, ("id", "envid"), MAX_ENVID),
        returned=_returned(fields),
        notify=_notify(fields),
        recipient=_recipient(fields),
    )


def _returned(fields: Fields) -> str | None:
    name = _given(fields, "return", "ret")
    text = fields.line(name)
    if text is None:
        return None
    if text.upper() not in _RETURN:
        fields.fault(name, "another word", "'headers' or 'full'")
    return _RETURN.get(text.upper())


def _notify(fields: Fields) -> str | None:
    """Some of success, failure and delay, as an array or separated by commas; or only never."""
    texts = [part for _, text in fields.texts("notify", or_one=True) for part in text.split(",")]
    events = list(dict.fromkeys(text.strip().upper() for text in texts if text.strip()))
    if events and events != ["NEVER"] and not set(events) <= set(_EVENTS):
        fields.fault("notify", "something else", "'never', or some of 'success', 'failure' and 'delay'")
        return None
    return ",".join(events) or None


def _recipient(fields: Fields) -> str | None:
    name = _given(fields, "recipient", "orcpt")
    address = _xtext(fields, (name,), MAX_ORCPT)
    if address is None:
        return None
    return address if ";" in address else f"rfc822;{address}"


def _xtext(fields: Fields, names: tuple[str, ...], longest: int) -> str | None:
    """The text encoded as xtext (RFC 3461 section 4), so that it can't add another SMTP parameter."""
    name = _given(fields, *names)
    text = fields.line(name)
    if text is None:
        return None
    if not re.fullmatch(r"[ -~]+", text):
        fields.fault(name, "a text with other characters", "printable ASCII")
        return None
    encoded = re.sub(r"[ +=]", lambda match: f"+{ord(match[0]):02X}", text)
    if len(encoded) > longest:
        fields.fault(name, "a longer text", f"at most {longest} characters")
        return None
    return encoded


def _given(fields: Fields, *names: str) -> str:
    """The first name under which the field is given, or the first of all if none is."""
    return next((name for name in names if fields.values.get(name) is not None), names[0])

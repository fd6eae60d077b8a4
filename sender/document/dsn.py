"""Delivery status notifications: what a document asks of the mail servers on the way (RFC 3461).

`message.dsn` is nodemailer's (https://nodemailer.com/smtp/dsn/): `{id, return, notify, recipient}`, with the names that
nodemailer takes for the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sender.document.fields import Fields

#: RFC 3461 sections 4.4 and 4.2, in characters as they go over the wire.
MAX_ENVID, MAX_ORCPT = 100, 500 - len("rfc822;")

_RETURN = {"HEADERS": "HDRS", "HDRS": "HDRS", "FULL": "FULL", "BODY": "FULL"}
_EVENTS = ("SUCCESS", "FAILURE", "DELAY")


@dataclass(frozen=True, slots=True)
class Dsn:
    """The parameters' values as they go over the wire; None where the server's default is wanted.

    `envelope_id` comes back in each notification, `returned` is how much of the mail does (FULL or HDRS), `notify` on
    what, `recipient` whom the sender had meant.
    """

    envelope_id: str | None = None
    returned: str | None = None
    notify: str | None = None
    recipient: str | None = None

    def mail_parameters(self) -> Iterator[str]:
        """For MAIL FROM."""
        if self.returned:
            yield f"RET={self.returned}"
        if self.envelope_id:
            yield f"ENVID={self.envelope_id}"

    def rcpt_parameters(self) -> Iterator[str]:
        """For each RCPT TO."""
        if self.notify:
            yield f"NOTIFY={self.notify}"
        if self.recipient:
            yield f"ORCPT={self.recipient}"


def read_dsn(message: Fields) -> Dsn | None:
    """The map's `dsn`; faults are noted with the parent."""
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
    """One or more of success, failure and delay, as an array or with commas between them; or never, alone."""
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
    """The text in xtext (RFC 3461 section 4), which leaves no room for another SMTP parameter."""
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
    """Under which of its names the field is there; the first one if it isn't."""
    return next((name for name in names if fields.values.get(name) is not None), names[0])

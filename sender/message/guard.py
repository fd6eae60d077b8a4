"""The guard: mail goes only to the recipients that the operator allows, as is right outside production.

RECIPIENTS_ALLOWED lists who may get mail. With RECIPIENTS_REDIRECT, those addresses get it instead of everybody else.
Whoever is withheld is taken out of the document, before it is encoded for any transport: out of the envelope,
SendGrid's personalizations and the headers To and Cc, so that "reply to all" reaches nobody else either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sender.document.addresses import Address, BadAddress, Group, mailboxes, parse_addresses
from sender.document.custom_headers import Header
from sender.document.document import Entries, MailDocument
from sender.document.fields import shown
from sender.net import host_patterns
from shared.errors import ErrorCode, Misconfigured, NotSendable

#: Names the original recipients in a mail from which some were withheld.
HEADER: Final = "X-Firepost-Original-Recipients"
#: The most bytes of addresses in it: mail servers limit all headers together, some to 100 KB.
MAX_HEADER_BYTES: Final = 10_000

#: Headers by which a mail server behind SMTP adds recipients (SendGrid, Mailchimp Transactional, SparkPost), and ours.
#: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/building-an-x-smtpapi-header
_ADDING = frozenset(("x-smtpapi", "x-mc-bccaddress", "x-msys-api", HEADER.lower()))
#: The parts of SendGrid's `mail_settings` that name no address and no URL. Its `bcc` adds a recipient to each mail, and
#: `spam_check` posts the mail to a URL.
_HARMLESS = frozenset(
    (
        *("sandboxmode", "footer", "bypasslistmanagement", "bypassspammanagement", "bypassbouncemanagement"),
        "bypassunsubscribemanagement",
    )
)
_ANYONE: Final = "*"
_PATTERNS: Final = "addresses, '*@example.com' or '*@*.example.com' (its subdomains), separated by commas"
_ADDRESSES: Final = "addresses such as 'staging@example.com', separated by commas"


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may get mail: `allowed` are addresses and patterns as `Guard.parse` makes them; `redirect` are among them."""

    allowed: frozenset[str]
    redirect: tuple[str, ...] = ()

    @classmethod
    def parse(cls, allowed: str | None, redirect: str | None) -> Guard | None:
        """From RECIPIENTS_ALLOWED and RECIPIENTS_REDIRECT; None if neither is set.

        Raises `Misconfigured` for anything else than addresses and patterns, and for a text without any: a mistake must
        not let mail out. The texts are not quoted.
        """
        if allowed is None and redirect is None:
            return None
        patterns = () if allowed is None else _entries("RECIPIENTS_ALLOWED", allowed, _PATTERNS)
        instead = () if redirect is None else _entries("RECIPIENTS_REDIRECT", redirect, _ADDRESSES, wildcards=False)
        return cls(frozenset(map(_comparable, (*patterns, *instead))), instead)

    def allows(self, address: Address) -> bool:
        """Whether mail may go to the address."""
        email = _comparable(address.email)
        hosts = host_patterns.patterns_for(email.rpartition("@")[2])
        return email in self.allowed or not self.allowed.isdisjoint(f"{_ANYONE}@{host}" for host in hosts)


def guarded(document: MailDocument, guard: Guard | None) -> tuple[MailDocument, tuple[str, ...]]:
    """The document with only those recipients that may get mail; also returns the addresses withheld.

    User ids must have been resolved. Raises `NotSendable` if nobody is left.
    """
    if guard is None:
        return document, ()
    document = _without_other_ways(document)
    given = {"to": document.to, "cc": document.cc, "bcc": document.bcc}
    withheld = {name: _withheld(entries, guard) for name, entries in given.items()}
    if not any(withheld.values()):
        return document, ()
    outside = tuple(dict.fromkeys(email for emails in withheld.values() for email in emails))
    excluded = frozenset(outside)
    kept = {name: tuple(_without(entries, excluded)) for name, entries in given.items()}
    direct = frozenset(_comparable(address.email) for entries in kept.values() for address in mailboxes(entries))
    if not (direct or guard.redirect):
        text = "RECIPIENTS_ALLOWED allows none of the mail's recipients, so it was not sent."
        raise NotSendable(ErrorCode.NOT_ALLOWED, text)
    instead = [email for email in guard.redirect if _comparable(email) not in direct]
    for name, missing in withheld.items():
        if missing:
            kept[name] += tuple(Address(_brief(missing), email) for email in instead)
            instead = []
    # Whoever gets the mail directly must not learn who was in bcc.
    readable = (*document.to, *document.cc, *(() if direct else document.bcc))
    originals = tuple(dict.fromkeys(address.email for address in mailboxes(readable)))
    headers = (*document.headers, Header(HEADER, HEADER, _listed(originals))) if originals else document.headers
    changed = replace(document, to=kept["to"], cc=kept["cc"], bcc=kept["bcc"], headers=headers)
    return changed, outside


def _entries(setting: str, text: str, expected: str, *, wildcards: bool = True) -> tuple[str, ...]:
    """The distinct entries of a comma-separated list, normalised as addresses are; raises `Misconfigured`."""
    found: dict[str, None] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        try:
            entry = _entry(part)
        except BadAddress as error:
            raise Misconfigured(f"{setting}: expected {expected}; entry {number} is {error}") from error
        if _ANYONE in entry and not wildcards:
            raise Misconfigured(f"{setting}: expected {expected}; entry {number} has a '*'")
        found[entry] = None
    if not found:
        raise Misconfigured(f"{setting} is set, but empty: expected {expected}; without the variable, all may get mail")
    return tuple(found)


def _entry(text: str) -> str:
    """An address, `*@domain` or `*@*.domain`, the domain in lower case with A-labels. Raises `BadAddress`."""
    local, at, domain = text.rpartition("@")
    below = "*." if domain.startswith("*.") and local == _ANYONE else ""
    match parse_addresses(f"{local}{at}{domain.removeprefix(below)}"):
        case (Address(name="", email=email),) if _ANYONE not in email.removeprefix(f"{_ANYONE}@"):
            local, _, domain = email.rpartition("@")
            return f"{local}@{below}{domain}"
    raise BadAddress("something else")


def _comparable(email: str) -> str:
    """Without regard to case, but only in ASCII: other letters with the same lower case may be another mailbox."""
    return email.encode().lower().decode()


def _withheld(entries: Entries, guard: Guard) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.email for address in mailboxes(entries) if not guard.allows(address)))


def _without(entries: Entries, outside: frozenset[str]) -> Iterator[Address | Group]:
    """The entries without these addresses; a group keeps its name."""
    for entry in entries:
        if isinstance(entry, Group):
            yield replace(entry, members=tuple(member for member in entry.members if member.email not in outside))
        elif entry.email not in outside:
            yield entry


def _brief(withheld: tuple[str, ...]) -> str:
    """The name of a redirected recipient, which an inbox shows."""
    more = len(withheld) - 1
    return f"{withheld[0]} and {more:,} more" if more else withheld[0]


def _listed(emails: tuple[str, ...]) -> str:
    """The addresses as a header's value of limited length."""
    sizes = itertools.accumulate(len(email.encode()) for email in emails)
    fitting = [email for email, size in zip(emails, sizes, strict=True) if size <= MAX_HEADER_BYTES]
    more = len(emails) - len(fitting)
    return ", ".join([*fitting, f"and {more:,} more"] if more else fitting)


def _without_other_ways(document: MailDocument) -> MailDocument:
    """The document without all else that can name recipients, and with warnings about it."""
    added = [header.path for header in document.headers if header.key in _ADDING]
    headers = tuple(header for header in document.headers if header.key not in _ADDING)
    dsn, send_grid = document.dsn, document.send_grid
    if dsn and dsn.recipient:
        added.append("message.dsn.recipient")
        dsn = replace(dsn, recipient=None)
    settings = send_grid.get("mailSettings") if send_grid else None
    if send_grid and isinstance(settings, Mapping):
        harmless = {name: value for name, value in settings.items() if name.replace("_", "").lower() in _HARMLESS}
        added += [f"sendGrid.mailSettings.{shown(name)}" for name in settings if name not in harmless]
        send_grid = {**send_grid, "mailSettings": harmless}
    warnings = [
        f"Field '{path}' can name further recipients and was not sent, because RECIPIENTS_ALLOWED or "
        "RECIPIENTS_REDIRECT is set."
        for path in added
    ]
    return replace(document, headers=headers, dsn=dsn, send_grid=send_grid, warnings=(*document.warnings, *warnings))

"""Mail addresses: from the text in an address field to names and addresses that can be sent.

The syntax is RFC 5322 section 3.4 (mailboxes, groups, quoted names, comments), read as leniently as nodemailer's
addressparser, because that is what Trigger Email's users wrote for: `Friendly Name test@example.com` is understood, and
`;` outside a group separates like a comma. Stricter than there in three points: text that can't be an address is an
error, two addresses without a comma between them are an error (there, one was silently lost), and so is any control
character, line breaks first of all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import idna

#: Longest domain, and longest address in bytes: a local part of 64, an @, a domain (RFC 5321 section 4.5.3.1).
MAX_DOMAIN = 255
MAX_ADDRESS_BYTES = 64 + 1 + MAX_DOMAIN

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")

# Every alternative either succeeds or fails after reading only what the next one consumes, so time is linear.
_TOKEN = re.compile(
    r"""
      (?P<literal>"(?:[^"\\]|\\.)*"@[^\s",;:<>()]+)                    # "john doe"@example.com
    | "(?P<quoted>(?:[^"\\]|\\.)*)"?
    | \((?P<comment>(?:[^()\\]|\\.|\([^()]*\))*)\)?
    | <(?P<angle>[^<>]*)(?:>|\Z)
    | (?P<mark>[,;:])
    | (?P<word><?(?:@\[[^\[\]\s]*\]|[^\s",;:<(])+|<)                   # may end in an address literal: a@[IPv6:::1]
    """,
    re.VERBOSE | re.DOTALL,
)
_UNSPEAKABLE = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_LOCAL = re.compile(rf'"(?:[^"\\{_UNSPEAKABLE}]|\\[^{_UNSPEAKABLE}])+"|[^\s{_UNSPEAKABLE}()<>\[\]:;@\\,"]+')
_LABEL = r"[!#-'*+/-9=?A-Z^-~-]+"  # any mark but those that mean something in an address
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS_LITERAL = re.compile(r"\[[!-Z^-~]+\]")

_Token = tuple[str, str]


class BadAddress(ValueError):
    """The text is not an address list. `str()` says what was found, without quoting it."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: `name` as people read it (may be empty) and `email` as `local@domain`.

    The domain is in lower case and A-labels; the local part is as written and may hold non-ASCII characters.
    """

    name: str
    email: str

    @property
    def domain(self) -> str:
        """What follows the @."""
        return self.email.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Group:
    """A named list (`Team: a@b.c, d@e.f;`), possibly without members (`undisclosed-recipients:;`)."""

    name: str
    members: tuple[Address, ...]


def parse_addresses(text: str, *, joins_names: bool = False) -> tuple[Address | Group, ...]:
    """The addresses and groups in an address field, in order; blank entries are skipped.

    With `joins_names`, `Acme, Inc. <a@b.c>` is one address, whose name should have stood in quotation marks; without,
    `Acme` is a faulty one. Raises `BadAddress`.
    """
    if _CONTROL.search(text):
        raise BadAddress("an address with a line break or another control character")
    entries: list[Address | Group] = []
    group: tuple[str, list[Address]] | None = None
    begun: list[_Token] = []
    for tokens, mark in _split_at_marks(text):
        if joins_names and mark == "," and tokens and not any(map(_may_hold_address, tokens)):
            begun += [*tokens[:-1], (tokens[-1][0], f"{tokens[-1][1]},")]
            continue
        if begun and not any(kind == "angle" for kind, _ in tokens):
            raise BadAddress("an address without an @")
        tokens, begun = begun + tokens, []
        if mark == ":":
            if group is not None:
                raise BadAddress("a ':' within a group of addresses")
            group = (_name(tokens), [])
            continue
        if tokens:
            (entries if group is None else group[1]).append(_mailbox(tokens))
        if group is not None and mark in (";", ""):
            entries.append(Group(group[0], tuple(group[1])))
            group = None
    return tuple(entries)


def mailboxes(entries: Iterable[Address | Group]) -> Iterator[Address]:
    """The addresses alone, those in groups included, in order."""
    for entry in entries:
        if isinstance(entry, Group):
            yield from entry.members
        else:
            yield entry


def _split_at_marks(text: str) -> Iterator[tuple[list[_Token], str]]:
    """The tokens before each `,`, `;` or `:` with that mark; the last ones with an empty mark."""
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "mark":
            yield tokens, match[kind]
            tokens = []
        else:
            tokens.append((kind, match[kind]))
    yield tokens, ""


def _may_hold_address(token: _Token) -> bool:
    kind, value = token
    return kind == "angle" or "@" in value


def _mailbox(tokens: list[_Token]) -> Address:
    """One address from its tokens, the name being all that is not the address."""
    angles = [value for kind, value in tokens if kind == "angle"]
    if angles:
        if len(angles) > 1:
            raise BadAddress("two addresses without a comma between them")
        name = _name(tokens)
        return Address("" if name == angles[0].strip() else name, _normalised(angles[0]))
    bare = [token for token in tokens if token[0] in ("word", "literal") and "@" in token[1]]
    if not bare:
        raise BadAddress("an address without an @")
    if len(bare) > 1:
        raise BadAddress("two addresses without a comma between them")
    return Address(_name([token for token in tokens if token is not bare[0]]), _normalised(bare[0][1]))


def _name(tokens: list[_Token]) -> str:
    """The words and quoted strings; if there are none, the comments, as in `ada@example.com (Ada)`."""
    words = [
        re.sub(r"\\(.)", r"\1", value) if kind == "quoted" else value
        for kind, value in tokens
        if kind in ("word", "quoted", "literal")
    ]
    return " ".join(words or [value for kind, value in tokens if kind == "comment"]).strip()


def _normalised(text: str) -> str:
    """A bare address, checked, with its domain in lower case and A-labels."""
    local, at, domain = text.strip().rpartition("@")
    if not at:
        raise BadAddress("an address without an @")
    if not local or not domain:
        raise BadAddress(f"an address with nothing {'before' if not local else 'after'} the @")
    if not _LOCAL.fullmatch(local):
        raise BadAddress("an address with a character that is not allowed before the @")
    address = f"{local}@{_ascii_domain(domain)}"
    if len(address.encode()) > MAX_ADDRESS_BYTES:
        raise BadAddress(f"an address longer than {MAX_ADDRESS_BYTES} bytes")
    return address


@functools.lru_cache(maxsize=1024)  # the mapping costs 60 us, and mails go to the same few providers
def _ascii_domain(domain: str) -> str:
    """The domain as DNS and SMTP know it (IDNA 2008 with UTS 46 mapping), or an address literal as it is."""
    if len(domain) > MAX_DOMAIN:
        raise BadAddress(f"an address with a domain longer than {MAX_DOMAIN} characters")
    if _ADDRESS_LITERAL.fullmatch(domain):
        return domain
    if domain.isascii():
        domain = domain.lower()
    else:
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress("an address with an impossible internationalised domain") from error
    domain = domain.removesuffix(".")  # DNS may end in one, SMTP may not (RFC 5321 section 4.1.2)
    # Checked after the mapping, which turns look-alikes such as a full-width @ into the real ones.
    if not _DOMAIN.fullmatch(domain):
        raise BadAddress("an address with an impossible domain")
    return domain

"""Parses address fields into names and addresses.

The syntax is RFC 5322 section 3.4 (mailboxes, groups, quoted names, comments), read as leniently as nodemailer's
addressparser, because Trigger Email's users rely on it: `Friendly Name test@example.com` is accepted, and `;` outside a
group separates addresses like a comma. This parser is stricter in three points. All of these are errors: text that
can't be an address, two addresses without a comma between them (nodemailer silently drops one), and any control
character, including line breaks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import idna

from sender.document.invisible import invisible_in, stripped

#: The longest domain, and the longest address in bytes: a local part of 64, an @, a domain (RFC 5321 section 4.5.3.1).
MAX_DOMAIN = 255
MAX_ADDRESS_BYTES = 64 + 1 + MAX_DOMAIN

#: The longest address field, and the longest entry between two commas, in characters.
MAX_TEXT = 100_000
MAX_ENTRY = 2_000

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

# An alternative that fails has read no more than the next one consumes, so parsing takes linear time.
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
_SEPARATOR = re.compile("[,;]")
_FORBIDDEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_LOCAL = re.compile(rf'"(?:[^"\\{_FORBIDDEN}]|\\[^{_FORBIDDEN}])+"|[^\s{_FORBIDDEN}()<>\[\]:;@\\,"]+')
_LABEL = r"[!#-'*+/-9=?A-Z^-~-]+"  # all punctuation except the characters with a meaning in addresses
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: RFC 5321 section 4.1.3: a tag and what it is a tag of, or else an IPv4 address.
_ADDRESS_LITERAL = re.compile(r"\[(?:(?P<tag>[A-Za-z0-9-]*[A-Za-z0-9]):)?(?P<address>[!-;=?-Z^-~]+)\]")

_Token = tuple[str, str]


class BadAddress(ValueError):
    """The text is not an address list. `str()` describes the problem without quoting the text."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: the display name (may be empty) and `email` in the form `local@domain`.

    The domain is in lower case, with A-labels; the local part is unchanged and may contain non-ASCII characters.
    """

    name: str
    email: str

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.email.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Group:
    """A named list (`Team: a@b.c, d@e.f;`); it may be empty (`undisclosed-recipients:;`)."""

    name: str
    members: tuple[Address, ...]


def parse_addresses(text: str, *, joins_names: bool = False) -> tuple[Address | Group, ...]:
    """Parse an address field into its addresses and groups, in order; blank entries are skipped.

    With `joins_names`, `Acme, Inc. <a@b.c>` and `Acme: Orders <a@b.c>` are each one address whose name lacks its
    quotation marks. Without it, `Acme` is an invalid address, or a group. Raises `BadAddress`.
    """
    _check_text(text)
    entries: list[Address | Group] = []
    group: tuple[str, list[Address]] | None = None
    name_tokens: list[_Token] = []
    has_groups = ";" in text  # looked for once: for some characters before it, that takes time
    for tokens, mark in _split_at_marks(text):
        if joins_names and _is_within_name(tokens, mark, has_groups):
            name_tokens += [*tokens[:-1], (tokens[-1][0], f"{tokens[-1][1]}{mark}")]
            continue
        if name_tokens and name_tokens[-1][1].endswith(",") and not any(kind == "angle" for kind, _ in tokens):
            raise BadAddress("an address without an @")
        tokens, name_tokens = name_tokens + tokens, []
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


def _check_text(text: str) -> None:
    """Check the limits before parsing, because tokens take a hundred times the memory of the text."""
    if _CONTROL.search(text):
        raise BadAddress("an address with a line break or another control character")
    if len(text) > MAX_TEXT:
        raise BadAddress(f"a text of more than {MAX_TEXT:,} characters")
    if max(map(len, _SEPARATOR.split(text))) > MAX_ENTRY:
        raise BadAddress(f"an address of more than {MAX_ENTRY:,} characters with its name")


def mailboxes(entries: Iterable[Address | Group]) -> Iterator[Address]:
    """All addresses in order, including those in groups."""
    for entry in entries:
        if isinstance(entry, Group):
            yield from entry.members
        else:
            yield entry


def _split_at_marks(text: str) -> Iterator[tuple[list[_Token], str]]:
    """Split into runs of tokens, each with the `,`, `;` or `:` that ends it; the last run has an empty mark."""
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "mark":
            yield tokens, match[kind]
            tokens = []
        else:
            tokens.append((kind, match[kind]))
    yield tokens, ""


def _is_within_name(tokens: list[_Token], mark: str, has_groups: bool) -> bool:
    """Whether the comma or colon belongs to a name: no address precedes it, and no `;` ends a group."""
    is_in_name = mark == "," or (mark == ":" and not has_groups)
    return is_in_name and bool(tokens) and not any(map(_may_hold_address, tokens))


def _may_hold_address(token: _Token) -> bool:
    kind, value = token
    return kind == "angle" or "@" in value


def _mailbox(tokens: list[_Token]) -> Address:
    """One address from its tokens; all other tokens form the name."""
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
    """The words and quoted strings or, if there are none, the comments, as in `ada@example.com (Ada)`."""
    words = [
        re.sub(r"\\(.)", r"\1", value) if kind == "quoted" else value
        for kind, value in tokens
        if kind in ("word", "quoted", "literal")
    ]
    name = " ".join(words or [value for kind, value in tokens if kind == "comment"]).strip()
    return name if stripped(name) else ""


def _normalised(text: str) -> str:
    """Check a bare address and convert its domain to lower case and A-labels."""
    text = stripped(text)
    local, at, domain = text.rpartition("@")
    if not at:
        raise BadAddress("an address without an @")
    if unseen := invisible_in(text):
        raise BadAddress(f"an address with {unseen}")
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
    """The domain in A-labels (IDNA 2008 with UTS 46 mapping); an address literal is returned unchanged."""
    if len(domain) > MAX_DOMAIN:
        raise BadAddress(f"an address with a domain longer than {MAX_DOMAIN} characters")
    if domain.startswith("["):
        return _address_literal(domain)
    if domain.isascii():
        domain = domain.lower()
    else:
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress("an address with an impossible internationalised domain") from error
    domain = domain.removesuffix(".")  # DNS allows a final dot, SMTP doesn't (RFC 5321 section 4.1.2)
    # Checked after the mapping, which replaces look-alikes such as a full-width @ by the ASCII characters.
    if not _DOMAIN.fullmatch(domain):
        raise BadAddress("an address with an impossible domain")
    return domain


def _address_literal(domain: str) -> str:
    """An IP address, or one of another kind, in place of a domain (RFC 5321 section 4.1.3)."""
    found = _ADDRESS_LITERAL.fullmatch(domain)
    try:
        if found and not found["tag"]:
            IPv4Address(found["address"])
        elif found and found["tag"].lower() == "ipv6":
            found = None if IPv6Address(found["address"]).scope_id else found
    except ValueError:
        found = None
    if not found:
        raise BadAddress("an address with an impossible domain")
    return domain

"""Host names in settings, and patterns: `example.com` matches itself, `*.example.com` all its subdomains."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.errors import Misconfigured

_PATTERN = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def parse(setting: str, text: str, also: str = "") -> frozenset[str]:
    """The patterns of a comma-separated list, in lower case.

    Raises `Misconfigured` with the name of the `setting` and what it expects; `also` is appended to that. The text is
    not quoted: a URL may contain a secret.
    """
    patterns = [part.strip().lower() for part in text.split(",") if part.strip()]
    for number, pattern in enumerate(patterns, 1):
        if not _PATTERN.fullmatch(pattern):
            expected = f"host names such as 'cdn.example.com' or '*.example.com'{also}"
            raise Misconfigured(f"{setting}: expected {expected}, found something else as name {number}")
    return frozenset(patterns)


def can_be_host(name: str) -> bool:
    """Whether the socket and ssl modules accept the name; both use this codec."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return "\0" not in name


def patterns_for(host: str) -> Iterator[str]:
    """The patterns that match a host name (in lower case), most specific first."""
    yield host
    labels = host.split(".")
    yield from ("*." + ".".join(labels[start:]) for start in range(1, len(labels)))

"""Masks secrets in server replies: some servers echo the login, and replies end up in documents."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"

#: A run of characters that may be base64, in the standard or the URL-safe alphabet.
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{4,}")
_STANDARD = str.maketrans("-_", "+/", "=")

#: A match with our credentials that is at least this long can't be a coincidence.
_REVEALING = 12
_LONG_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{_REVEALING},}}")

#: The number of base64 characters that also depend on the 0, 1 or 2 bytes before the secret.
_FOREIGN_CHARACTERS = (0, 2, 3)


def mask(secrets: Iterable[str], proofs: Iterable[str] = ()) -> Callable[[str], str]:
    """Returns a function that masks the secrets in a text: in plain, percent-encoded, and anywhere within base64.

    `proofs` are texts that contain a secret and are sent in base64; pieces of those are masked, too.
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not known:
        return lambda text: text
    spellings = [form for secret in known for form in _spellings(secret)]
    plain = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)
    cores = [core for secret in known for core in _base64_cores(secret)]
    sent = [base64.b64encode(proof.encode()).decode() for proof in (*known, *proofs)]

    def is_revealing(run: str) -> bool:
        bare = run.translate(_STANDARD)
        return any(core in bare for core in cores) or (len(bare) >= _REVEALING and any(bare in text for text in sent))

    def masked(text: str) -> str:
        lower = text.lower()
        if any(form in lower for form in spellings):
            text = plain.sub(MASK, text)
        if _LONG_RUN.search(text) or any(core in text.translate(_STANDARD) for core in cores):
            text = _RUN.sub(lambda match: MASK if is_revealing(match[0]) else match[0], text)
        return text

    return masked


def _spellings(secret: str) -> list[str]:
    """The secret in plain and in all common percent-encodings, in lower case, longest first."""
    every_byte = "".join(f"%{byte:02x}" for byte in secret.encode())
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), every_byte}
    return sorted({form.lower() for form in forms}, key=len, reverse=True)


def _base64_cores(secret: str) -> Iterator[str]:
    """What base64 of any text with the secret contains, for each of the three possible alignments."""
    data = secret.encode()
    for before, foreign in enumerate(_FOREIGN_CHARACTERS):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        whole = (before + len(data)) * 8 // 6  # the next character depends on what follows
        core = encoded[foreign:whole]
        if len(core) >= 4:
            yield core

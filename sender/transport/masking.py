"""Our secrets taken out of what a server says: some echo the login, and their words end up in documents."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"

#: What may be base64, in the usual alphabet or the one for URLs.
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{4,}")
_STANDARD = str.maketrans("-_", "+/", "=")

#: From this length on, a piece of what we have said is no coincidence.
_TELLING = 12
_LONG_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{_TELLING},}}")

#: How many characters at the start of base64 depend on one, or two, bytes that stand before the secret.
_FOREIGN_CHARACTERS = (0, 2, 3)


def mask(secrets: Iterable[str], proofs: Iterable[str] = ()) -> Callable[[str], str]:
    """What replaces the secrets in a text: as they are, percent-encoded, and anywhere within base64.

    `proofs` are longer texts with a secret in them that we send in base64; a piece of one gives it away, too.
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not known:
        return lambda text: text
    spellings = [form for secret in known for form in _spellings(secret)]
    plain = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)
    cores = [core for secret in known for core in _base64_cores(secret)]
    said = [base64.b64encode(proof.encode()).decode() for proof in (*known, *proofs)]

    def is_telling(run: str) -> bool:
        bare = run.translate(_STANDARD)
        return any(core in bare for core in cores) or (len(bare) >= _TELLING and any(bare in one for one in said))

    def masked(text: str) -> str:
        lower = text.lower()
        if any(form in lower for form in spellings):
            text = plain.sub(MASK, text)
        if _LONG_RUN.search(text) or any(core in text.translate(_STANDARD) for core in cores):
            text = _RUN.sub(lambda match: MASK if is_telling(match[0]) else match[0], text)
        return text

    return masked


def _spellings(secret: str) -> list[str]:
    """As it is and percent-encoded in all usual ways, in small letters; the longest first."""
    every_byte = "".join(f"%{byte:02x}" for byte in secret.encode())
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), every_byte}
    return sorted({form.lower() for form in forms}, key=len, reverse=True)


def _base64_cores(secret: str) -> Iterator[str]:
    """What the base64 of any text with the secret in it contains, for each of the places where it may begin."""
    data = secret.encode()
    for before, foreign in enumerate(_FOREIGN_CHARACTERS):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        whole = (before + len(data)) * 8 // 6  # the next character depends on what follows
        core = encoded[foreign:whole]
        if len(core) >= 4:
            yield core

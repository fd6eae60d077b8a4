"""Document ids from outside, which are validated before they become part of a path, and paths of Firepost's own."""

from __future__ import annotations

import re
from typing import Final

#: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
MAX_ID_BYTES: Final = 1500

_RESERVED = re.compile(r"\.\.?|__.*__", re.DOTALL)
# These are allowed: Firestore's form of a numeric id from Datastore (same page), a 64 bit integer other than 0.
_NUMERIC = re.compile(r"__id(-?[1-9][0-9]{0,18})__")


def is_document_id(text: str) -> bool:
    """Whether Firestore accepts the text as a document id; a request with any other id fails.

    All characters except `/` are allowed, including invisible ones. Lone surrogates are not characters.
    """
    if not text or "/" in text or (_RESERVED.fullmatch(text) and not _is_numeric(text)):
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def own_path(collection: str, name: str) -> str:
    """The path of a document that Firepost keeps for itself: `mail-firepost/NAME` for the collection `mail`.

    It lies beside the mail collection, not in it, so that it is no mail and causes no event.
    """
    return f"{collection}-firepost/{name}"


def _is_numeric(text: str) -> bool:
    number = _NUMERIC.fullmatch(text)
    return number is not None and -(2**63) <= int(number[1]) < 2**63

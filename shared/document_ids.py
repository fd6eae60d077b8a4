"""Validates document ids from outside before they become part of a Firestore path."""

from __future__ import annotations

import re
from typing import Final

#: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
MAX_ID_BYTES: Final = 1500

# `__id7__` is allowed: Firestore's form of a numeric id from Datastore (same page).
_RESERVED = re.compile(r"\.\.?|__(?!id[0-9]+__\Z).*__", re.DOTALL)


def is_document_id(text: str) -> bool:
    """Whether Firestore accepts the text as a document id; a request with any other id fails.

    All characters except `/` are allowed, including invisible ones. Lone surrogates are not characters.
    """
    if not text or "/" in text or _RESERVED.fullmatch(text):
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False

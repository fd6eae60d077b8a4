"""What Firestore takes as a document's id: the one rule, for whatever comes from outside and goes into a path."""

from __future__ import annotations

import re
from typing import Final

#: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
MAX_ID_BYTES: Final = 1500

# `__id7__` is how Firestore shows the numeric id of an entity that was imported from Datastore (same page).
_RESERVED = re.compile(r"\.\.?|__(?!id[0-9]+__\Z).*__", re.DOTALL)


def is_document_id(text: str) -> bool:
    """Whether it can be a document's id at all; asking Firestore for another one is an error.

    Any character but `/` is allowed, whether it can be seen or not. Lone surrogates are no characters.
    """
    if not text or "/" in text or _RESERVED.fullmatch(text):
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False

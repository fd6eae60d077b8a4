"""Documents from plain data."""

from __future__ import annotations

from typing import Any

from google.cloud.firestore_v1 import _helpers, types

from local.backends.embedded.firestore.protos import Document


def document(data: dict[str, Any]) -> Document:
    """A document with these fields, as the server would receive it."""
    raw: Document = types.Document.pb(types.Document(fields=_helpers.encode_dict(data)))
    return raw

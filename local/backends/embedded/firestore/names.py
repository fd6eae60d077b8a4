"""Resource names: `projects/P/databases/D/documents/COLLECTION/ID/…`.

Limits and reserved names: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
"""

from __future__ import annotations

import re

from local.backends.embedded.failure import invalid

MAX_ID_BYTES = 1500
#: `projects`, P, `databases`, D and `documents`: the segments before the path.
ROOT_SEGMENTS = 5
#: A numeric id, as of an entity that was imported from Datastore.
_NUMERIC = re.compile(r"__id(-?[1-9][0-9]*)__")
_MIN_NUMBER, _MAX_NUMBER = -(2**63), 2**63 - 1


def is_reserved(name: str) -> bool:
    """Whether `name`, an id or a field, is reserved for Firestore."""
    return name.startswith("__") and name.endswith("__") and len(name) >= 4


def check_document_name(name: str) -> None:
    """Raise INVALID_ARGUMENT unless `name` is the full name of a document."""
    segments = name.split("/")
    _check_root(name, segments)
    if len(segments) == ROOT_SEGMENTS or len(segments) % 2 == 0:
        raise invalid(f'Document name "{name}" must name a collection and an id, in pairs.')
    for place, segment in enumerate(segments[ROOT_SEGMENTS:]):
        _check_id(name, segment, is_document=place % 2 == 1)


def check_parent(name: str) -> None:
    """Raise INVALID_ARGUMENT unless `name` can contain collections: a document, or the root of a database."""
    segments = name.split("/")
    if len(segments) == ROOT_SEGMENTS:
        _check_root(name, segments)
    else:
        check_document_name(name)


def collection_of(document_name: str) -> str:
    """The full name of the collection that contains the document."""
    return document_name.rpartition("/")[0]


def path_of(name: str) -> str:
    """The part after `documents/`, such as `mail/abc`."""
    return name.split("/", ROOT_SEGMENTS)[ROOT_SEGMENTS]


def ordered(name: str) -> tuple[str, ...]:
    """The segments of a name, in a form that compares as Firestore orders names.

    Numeric ids come first, by number; the others follow by their UTF-8 bytes, as texts sort in Python, too.
    """
    segments = name.split("/")
    if "/__id" not in name:
        return tuple(segments)
    parts: list[str] = []
    for segment in segments:
        number = _NUMERIC.fullmatch(segment)
        # No segment is empty, so an empty one sorts before all.
        parts += (segment,) if number is None else ("", f"{int(number[1]) - _MIN_NUMBER:020d}")
    return tuple(parts)


def _check_root(name: str, segments: list[str]) -> None:
    if segments[0:5:2] != ["projects", "databases", "documents"] or "" in segments:
        raise invalid(f'Document name "{name}" must start with "projects/PROJECT/databases/DATABASE/documents".')


def _check_id(name: str, segment: str, is_document: bool) -> None:
    if len(segment) > MAX_ID_BYTES // 4 and len(segment.encode()) > MAX_ID_BYTES:
        raise invalid(f"The key path element name is longer than {MAX_ID_BYTES} bytes.")
    if is_reserved(segment):
        number = _NUMERIC.fullmatch(segment) if is_document else None
        if number is None:
            raise invalid(f'Resource id "{segment}" is invalid because it is reserved.')
        if not _MIN_NUMBER <= int(number[1]) <= _MAX_NUMBER:
            raise invalid(f'Resource id "{segment}" is invalid because it is not a 64 bit integer.')
    if segment in (".", ".."):
        raise invalid(f'Resource id "{segment}" is invalid: {name}.')

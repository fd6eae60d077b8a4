"""Field paths (`delivery.state`, `` `a.b`.c ``) and the values they lead to.

Syntax: https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#google.firestore.v1.Document
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, MutableMapping

from local.backends.embedded.failure import invalid
from local.backends.embedded.firestore.protos import Document, Value

Path = tuple[str, ...]
Fields = MutableMapping[str, Value]

#: The pseudo-field for the document's name in queries.
NAME = "__name__"

_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_QUOTED = re.compile(r"`((?:[^`\\]|\\.)+)`")
_ESCAPE = re.compile(r"\\(.)")


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """The field names of a path. Raises INVALID_ARGUMENT if it is malformed."""
    names: list[str] = []
    position = 0
    while True:
        match = _SIMPLE.match(text, position) or _QUOTED.match(text, position)
        if match is None:
            raise invalid(f'Invalid property path "{text}".')
        names.append(match[0] if match.re is _SIMPLE else _ESCAPE.sub(r"\1", match[1]))
        position = match.end()
        if position == len(text):
            return tuple(names)
        if text[position] != ".":
            raise invalid(f'Invalid property path "{text}".')
        position += 1


def render(path: Path) -> str:
    """The text form of a path, quoted where needed; the inverse of `parse`."""
    return ".".join(name if _SIMPLE.fullmatch(name) else _quote(name) for name in path)


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def get(fields: Fields, path: Path) -> Value | None:
    """The value at `path`, or None if there is none."""
    for name in path[:-1]:
        if name not in fields or not fields[name].HasField("map_value"):
            return None
        fields = fields[name].map_value.fields
    return fields.get(path[-1])


def put(fields: Fields, path: Path, value: Value) -> None:
    """Set the value at `path`; values on the way that are not maps are replaced by maps."""
    for name in path[:-1]:
        fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    fields[path[-1]].CopyFrom(value)


def remove(fields: Fields, path: Path) -> None:
    """Delete the value at `path`, if there is one."""
    for name in path[:-1]:
        if name not in fields or not fields[name].HasField("map_value"):
            return
        fields = fields[name].map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def value_of(document: Document, path: Path) -> Value | None:
    """The value at `path` of a document, whose name counts as a field; None if there is none."""
    return Value(reference_value=document.name) if path == (NAME,) else get(document.fields, path)


def only(document: Document, paths: Iterable[Path]) -> Document:
    """A copy of the document with only the fields at `paths`."""
    part = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    for path in paths:
        value = get(document.fields, path)
        if value is not None:
            put(part.fields, path, value)
    return part


def changed(old: Fields, new: Fields, prefix: Path = ()) -> list[Path]:
    """The paths whose values differ, as deep as both sides are maps, in alphabetical order."""
    paths: list[Path] = []
    for name in sorted({*old, *new}):
        path = (*prefix, name)
        if name not in old or name not in new:
            paths.append(path)
        elif old[name].HasField("map_value") and new[name].HasField("map_value"):
            paths += changed(old[name].map_value.fields, new[name].map_value.fields, path)
        elif old[name] != new[name]:
            paths.append(path)
    return paths

"""Batched operations, one of which is bad."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing

import pytest

from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase, Snapshot, Version, Write
from tests.integration.backends_agree.sides import PROJECT, Side

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

_NUMBERS = itertools.count()

#: Makes a write from the path of a document and its version.
Make = Callable[[str, Version], Write]


def _create(**fields: object) -> Make:
    return lambda path, _: Write(f"{path}-new", fields, None)


BAD: dict[str, Make] = {
    "nothing": lambda path, version: Write(path, {"n": 1}, version),
    "changed": lambda path, _: Write(path, {"n": 1}, Version(seconds=1_700_000_000)),
    "missing": lambda path, version: Write(f"{path}-none", {"n": 1}, version),
    "exists": lambda path, _: Write(path, {}, None),
    "reserved name": _create(__name__=1),
    "too long": _create(text="x" * 1024 * 1024),
    "too large": _create(text="x" * 600_000, html="x" * 600_000),
}


@pytest.mark.parametrize("bad", BAD)
def test_batches_agree(sides: tuple[Side, Side], bad: str) -> None:
    path = f"mail/batch-{next(_NUMBERS)}"
    ours, theirs = (_outcomes(side, BAD[bad], path) for side in sides)
    assert ours == theirs


def _outcomes(side: Side, bad: Make, path: str) -> list[str]:
    """The outcomes of a good write, the bad one and another good one, and the documents afterwards."""
    with closing(connect_firestore(side.firestore)) as connection:
        database = FirestoreDatabase(connection, PROJECT, "(default)")
        [version] = database.write([Write(path, {"n": 0}, None)])
        assert isinstance(version, Version)
        good = [Write(f"{path}-{name}", {"n": 1}, None) for name in "ab"]
        outcomes = database.write([good[0], bad(path, version), good[1]])
        found = database.read([path, *(f"{path}-{name}" for name in ("a", "b", "new", "none", "a"))])
    contents = (str(each.fields.get("n")) if isinstance(each, Snapshot) else str(each) for each in found)
    return [*(type(outcome).__name__ for outcome in outcomes), *contents]

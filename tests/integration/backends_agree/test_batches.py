"""What becomes of operations that travel together, where one of them is bad."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing

import pytest

from shared import rpcs
from shared.database import FirestoreDatabase, PreparedWrite, Version
from shared.errors import FirepostError
from tests.integration.backends_agree.sides import PROJECT, Side

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

_NUMBERS = itertools.count()

#: From a database and the path of a document of version `version`, a write.
Make = Callable[[FirestoreDatabase, str, Version], PreparedWrite]


def _create(**fields: object) -> Make:
    return lambda database, path, _: database.prepare_create(f"{path}-new", fields)


BAD: dict[str, Make] = {
    "nothing": lambda database, path, version: database.prepare_update(path, {"n": 1}, version),
    "changed": lambda database, path, _: database.prepare_update(path, {"n": 1}, Version(seconds=1_700_000_000)),
    "missing": lambda database, path, version: database.prepare_update(f"{path}-none", {"n": 1}, version),
    "exists": lambda database, path, _: database.prepare_create(path, {}),
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
    """What became of a good write, the bad one and another good one, and what is there afterwards."""
    with closing(rpcs.connect(side.firestore)) as connection:
        database = FirestoreDatabase(connection, PROJECT, "(default)")
        version = database.create(path, {"n": 0})
        good = [database.prepare_create(f"{path}-{name}", {"n": 1}) for name in "ab"]
        try:
            outcomes = database.write_many([good[0], bad(database, path, version), good[1]])
        except FirepostError as error:
            outcomes = [error]
        found = database.get_many([path, *(f"{path}-{name}" for name in ("a", "b", "new", "none", "a"))])
    return [*(type(outcome).__name__ for outcome in outcomes), *(str(each and each.fields.get("n")) for each in found)]

"""docs/security.md says of each class of hostile input what must hold and where it is tried."""

from __future__ import annotations

from tests.fuzz.catalogue import KINDS, file_of
from tests.unit.docs.documents import prose, rows


def test_each_class_of_input_has_a_row() -> None:
    given = [(row[0], row[4], row[5]) for row in rows("docs/security.md") if len(row) == 6 and row[0] != "class"]
    expected = [(kind.name, kind.must, f"`{file_of(kind)}`") for kind in KINDS]
    assert [row for row in given if row[2].startswith("`tests/fuzz/")] == expected


def test_the_number_of_classes_is_said() -> None:
    assert f"the {len(KINDS)} classes" in prose("docs/security.md")

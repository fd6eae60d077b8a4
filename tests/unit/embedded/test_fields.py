"""Field paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.backends.embedded.failure import Failure
from local.backends.embedded.firestore import fields
from tests.unit.embedded.documents import document


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b_1._c", ("a", "b_1", "_c")),
        ("`a.b`.c", ("a.b", "c")),
        (r"`a\`b\\c`", ("a`b\\c",)),
        ("`é`", ("é",)),
    ],
)
def test_path_is_read(text: str, path: fields.Path) -> None:
    assert fields.parse(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "1a", "a-b", "`a", "``", "a`b`", "é"])
def test_malformed_paths_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="Invalid property path"):
        fields.parse(text)


@given(st.lists(st.text(min_size=1), min_size=1).map(tuple))
def test_a_rendered_path_reads_as_the_same_path(path: fields.Path) -> None:
    assert fields.parse(fields.render(path)) == path


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="nothing"),
        pytest.param({"a": 1, "b": 1}, {"a": 2, "b": 1}, ["a"], id="a value"),
        pytest.param({"a": 1}, {"a": 1.0}, ["a"], id="a type"),
        pytest.param({"a": 1}, {"b": 1}, ["a", "b"], id="a name"),
        pytest.param({"d": {"s": 1, "t": 1}}, {"d": {"s": 2, "t": 1}}, ["d.s"], id="inside a map"),
        pytest.param({"d": {"s": 1}}, {"d": 1}, ["d"], id="a value that is no longer a map"),
        pytest.param({"d": {}}, {"d": {"a.b": 1}}, ["d.`a.b`"], id="a name that needs quotes"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, ["a"], id="an array"),
    ],
)
def test_changed_paths_are_found(old: dict[str, Any], new: dict[str, Any], paths: list[str]) -> None:
    found = fields.changed(document(old).fields, document(new).fields)
    assert [fields.render(path) for path in found] == paths

"""Queries that an index serves find what a look at every document finds, in the same order."""

from __future__ import annotations

import itertools
import math
from typing import Any
from unittest import mock

import pytest
from google.cloud.firestore_v1.types import StructuredQuery as Api
from hypothesis import given, reject
from hypothesis import strategies as st

from local.backends.embedded.failure import Failure
from local.backends.embedded.firestore.documents import Documents
from local.backends.embedded.firestore.protos import StructuredQuery, Write
from local.backends.embedded.firestore.query import Query
from local.backends.embedded.firestore.store import Store
from shared.firestore.values import encode
from tests.unit.embedded.documents import document

PARENT = "projects/p/databases/(default)/documents"
OP = Api.FieldFilter.Operator

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([1.5, math.nan, "", "a", "b"]),
    st.lists(st.integers(0, 1), max_size=2),
)
NAMES = st.sampled_from(["a", "b", "c", "a-b", "é"])
DATA = st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES})
#: Writes, in turn: a document's name, and its new data, or None to delete it.
HISTORIES = st.lists(st.tuples(NAMES, st.one_of(st.none(), DATA)), max_size=12)
FIELDS = st.sampled_from("xy")
COMPARISONS = st.sampled_from(
    [OP.EQUAL, OP.LESS_THAN, OP.LESS_THAN_OR_EQUAL, OP.GREATER_THAN, OP.GREATER_THAN_OR_EQUAL]
)
FILTERS = st.one_of(
    st.tuples(FIELDS, COMPARISONS, VALUES),
    st.tuples(FIELDS, st.just(OP.IN), st.lists(VALUES.filter(lambda value: not isinstance(value, list)), min_size=1)),
)


def built(
    filters: list[tuple[str, Any, Any]], order: str | None, start: tuple[Any, str] | None, before: bool, limit: int
) -> Query:
    where = [{"field_filter": {"field": {"field_path": f}, "op": op, "value": encode(v)}} for f, op, v in filters]
    query: dict[str, Any] = {"from_": [{"collection_id": "mail"}], "limit": {"value": limit}, "offset": limit % 2}
    if where:
        query["where"] = where[0] if len(where) == 1 else {"composite_filter": {"op": "AND", "filters": where}}
    if order is not None:
        query["order_by"] = [{"field": {"field_path": order}}]
    if start is not None:
        name = {"reference_value": f"{PARENT}/mail/{start[1]}"}
        query["start_at"] = {"values": [encode(start[0]), name] if order else [name], "before": before}
    return Query(PARENT, StructuredQuery(**query))


@given(
    history=HISTORIES,
    later=HISTORIES,
    filters=st.lists(FILTERS, max_size=2),
    order=st.one_of(st.none(), FIELDS),
    start=st.one_of(st.none(), st.tuples(VALUES, NAMES)),
    before=st.booleans(),
    limit=st.integers(0, 5),
)
def test_an_index_finds_what_a_look_at_every_document_finds(
    history: Any, later: Any, filters: Any, order: Any, start: Any, before: bool, limit: int
) -> None:
    try:
        query = built(filters, order, start, before, limit)
    except Failure:
        reject()
    documents = Documents()
    for writes in (history, later):
        for name, data in writes:
            new = None if data is None else document(data)
            if new is not None:
                new.name = f"{PARENT}/mail/{name}"
            documents.put(f"{PARENT}/mail/{name}", new)
        with mock.patch.object(Query, "_entries", lambda *_: None):
            expected = query.run(documents)
        assert query.run(documents) == expected


@pytest.mark.parametrize(
    ("filters", "order", "served"),
    [
        pytest.param([("x", OP.EQUAL, 1)], None, True, id="equal"),
        pytest.param([("x", OP.IN, [1, 2])], None, True, id="in"),
        pytest.param([("x", OP.LESS_THAN_OR_EQUAL, 1)], "x", True, id="range"),
        pytest.param([], "x", True, id="order"),
        pytest.param([("y", OP.EQUAL, 1)], "x", True, id="order-and-equal"),
        pytest.param([], None, False, id="everything"),
    ],
)
def test_the_queries_of_the_services_need_no_look_at_every_document(
    filters: list[tuple[str, Any, Any]], order: str | None, served: bool
) -> None:
    assert (built(filters, order, None, False, 1)._entries(Documents()) is not None) == served


@given(
    history=HISTORIES,
    later=HISTORIES,
    filters=st.lists(FILTERS, max_size=2),
    order=st.one_of(st.none(), FIELDS),
    limit=st.integers(0, 5),
)
def test_a_query_of_the_past_finds_what_it_found_then(
    history: Any, later: Any, filters: Any, order: Any, limit: int
) -> None:
    try:
        query = built(filters, order, None, False, limit)
    except Failure:
        reject()
    store = Store(itertools.count(1).__next__)
    commit(store, history)
    moment = store.clock.tick()
    expected, view = query.run(store.documents), store.past(moment)
    for writes in (later, history):
        commit(store, writes)
        assert query.run(view) == query.run(store.past(moment)) == expected


def commit(store: Store, history: Any) -> None:
    for name, data in history:
        write = Write(delete=f"{PARENT}/mail/{name}")
        if data is not None:
            write = Write(update=document(data))
            write.update.name = f"{PARENT}/mail/{name}"
        store.commit([write])

"""Queries: their results, their order, and which of them are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter, Query
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.backends_agree.sides import EXAMPLE_NUMBERS, SCALARS, VALUES, Side, agree, outcome, plain

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

FIELDS = st.sampled_from(["a", "b", "a.b"])
COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
COMPARED = SCALARS.filter(lambda value: value is not None and value == value)
FILTERS = st.one_of(
    st.builds(FieldFilter, FIELDS, COMPARISONS, COMPARED),
    st.builds(FieldFilter, FIELDS, st.sampled_from(["==", "!="]), st.sampled_from([None, math.nan])),
    st.builds(FieldFilter, FIELDS, st.just("array_contains"), COMPARED),
    st.builds(
        FieldFilter,
        FIELDS,
        st.sampled_from(["in", "not-in", "array_contains_any"]),
        st.lists(COMPARED, min_size=1, max_size=3),
    ),
)
QUERY_DATA = st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": SCALARS})


@dataclass(frozen=True)
class Ask:
    """A query in the client's terms."""

    filters: list[FieldFilter]
    orders: list[tuple[str, str]]
    offset: int | None
    limit: int | None
    select: list[str] | None
    cursor: tuple[str, list[object]] | None
    group: bool

    def of(self, db: firestore.Client, example: int) -> Any:
        name = f"q{example}"
        query: Any = db.collection_group(name) if self.group else db.collection(name)
        for one in self.filters:
            query = query.where(filter=one)
        for path, direction in self.orders:
            query = query.order_by(path, direction=direction)
        query = query if self.offset is None else query.offset(self.offset)
        query = query if self.limit is None else query.limit(self.limit)
        query = query if self.select is None else query.select(self.select)
        if self.cursor is not None and self.orders:
            method, values = self.cursor
            query = getattr(query, method)(values[: len(self.orders)])
        return query


def _ask() -> st.SearchStrategy[Ask]:
    return st.builds(
        Ask,
        filters=st.lists(FILTERS, max_size=2),
        orders=st.lists(
            st.tuples(FIELDS, st.sampled_from([Query.ASCENDING, Query.DESCENDING])),
            max_size=2,
            unique_by=lambda order: order[0],
        ),
        offset=st.one_of(st.none(), st.integers(0, 2)),
        limit=st.one_of(st.none(), st.integers(1, 3)),
        select=st.one_of(st.none(), st.just(["a"]), st.just(["a.b", "c"]), st.just([])),
        cursor=st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from(["start_at", "start_after", "end_at", "end_before"]),
                st.lists(SCALARS, min_size=2, max_size=2),
            ),
        ),
        group=st.booleans(),
    )


def answer(side: Side, ask: Ask, example: int) -> object:
    query = ask.of(side.db, example)
    found = [(snapshot.id, plain(snapshot.to_dict())) for snapshot in query.stream()]
    counted: Any = query.count().get()
    return found, counted[0][0].value


@agree
@given(st.lists(QUERY_DATA, max_size=6), st.lists(_ask(), min_size=1, max_size=6))
def test_queries_agree(sides: tuple[Side, Side], documents: list[dict[str, object]], asks: list[Ask]) -> None:
    example = next(EXAMPLE_NUMBERS)
    for side in sides:
        batch = side.db.batch()
        for number, data in enumerate(documents):
            above = "" if number % 3 else f"up/{number}/"
            batch.set(side.db.document(f"{above}q{example}/d{number}"), data)
        batch.commit()
    for ask in asks:
        ours, theirs = (outcome(partial(answer, side, ask, example)) for side in sides)
        assert ours == theirs, ask

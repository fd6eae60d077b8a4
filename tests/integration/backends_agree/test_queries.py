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

from tests.integration.backends_agree.sides import EXAMPLE_NUMBERS, IDS, SCALARS, VALUES, Side, agree, outcome, plain

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
DIRECTIONS = st.sampled_from([Query.ASCENDING, Query.DESCENDING])
QUERY_DATA = st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": SCALARS})


@dataclass(frozen=True)
class Ask:
    """A query in the client's terms: `named` compares the name to an id, and so may a cursor; `last` is
    limit_to_last.

    """

    filters: list[FieldFilter]
    named: tuple[str, str] | None
    orders: list[tuple[str, str]]
    offset: int | None
    limit: int | None
    select: list[str] | None
    cursor: tuple[str, list[object], str] | None
    group: bool
    last: bool

    def of(self, db: firestore.Client, example: int) -> Any:
        name = f"q{example}"
        query: Any = db.collection_group(name) if self.group else db.collection(name)
        for one in self.filters:
            query = query.where(filter=one)
        if self.named is not None:
            query = query.where(filter=FieldFilter("__name__", self.named[0], db.document(name, self.named[1])))
        for path, direction in self.orders:
            query = query.order_by(path, direction=direction)
        query = query if self.offset is None else query.offset(self.offset)
        if self.limit is not None:
            query = query.limit_to_last(self.limit) if self.last and self.orders else query.limit(self.limit)
        query = query if self.select is None else query.select(self.select)
        if self.cursor is not None and self.orders:
            method, values, identifier = self.cursor
            here = db.document(name, identifier)
            places = [here if path == "__name__" else values[place] for place, (path, _) in enumerate(self.orders)]
            query = getattr(query, method)(places)
        return query


def _ask() -> st.SearchStrategy[Ask]:
    return st.builds(
        Ask,
        filters=st.lists(FILTERS, max_size=2),
        named=st.one_of(st.none(), st.none(), st.tuples(COMPARISONS, st.sampled_from(IDS))),
        orders=st.builds(
            list.__add__,
            st.lists(st.tuples(FIELDS, DIRECTIONS), max_size=2, unique_by=lambda order: order[0]),
            st.lists(st.tuples(st.just("__name__"), DIRECTIONS), max_size=1),
        ),
        offset=st.one_of(st.none(), st.integers(0, 2)),
        limit=st.one_of(st.none(), st.integers(1, 3)),
        select=st.one_of(st.none(), st.just(["a"]), st.just(["a.b", "c"]), st.just([])),
        cursor=st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from(["start_at", "start_after", "end_at", "end_before"]),
                st.lists(SCALARS, min_size=3, max_size=3),
                st.sampled_from(IDS),
            ),
        ),
        group=st.booleans(),
        last=st.booleans(),
    )


def found(side: Side, ask: Ask, example: int) -> object:
    return [(snapshot.id, plain(snapshot.to_dict())) for snapshot in ask.of(side.db, example).get()]


def counted(side: Side, ask: Ask, example: int) -> object:
    return numbers(ask.of(side.db, example).count())


def summed(side: Side, ask: Ask, example: int) -> object:
    query = ask.of(side.db, example)
    return numbers(query.sum("a")), numbers(query.avg("a").count().sum("b"))


def numbers(aggregation: Any) -> object:
    """The aggregates, to as many digits as do not depend on the order in which they are added up."""
    values = {one.alias: one.value for row in aggregation.get() for one in row}
    return {alias: value if value is None else f"{value:.9g}" for alias, value in values.items()}


@agree
@given(
    st.dictionaries(st.sampled_from(IDS), QUERY_DATA, max_size=8),
    st.lists(_ask(), min_size=1, max_size=6),
)
def test_queries_agree(sides: tuple[Side, Side], documents: dict[str, dict[str, object]], asks: list[Ask]) -> None:
    example = next(EXAMPLE_NUMBERS)
    for side in sides:
        batch = side.db.batch()
        for number, (identifier, data) in enumerate(documents.items()):
            above = "" if number % 3 else f"up/{number}/"
            batch.set(side.db.document(f"{above}q{example}/{identifier}"), data)
        batch.commit()
    for ask in asks:
        for answer in (found, counted, summed):
            ours, theirs = (outcome(partial(answer, side, ask, example)) for side in sides)
            assert ours == theirs, ask

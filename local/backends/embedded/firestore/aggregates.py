"""Aggregations: count, sum and average of the documents that a query finds. Pure.

https://firebase.google.com/docs/firestore/query-data/aggregation-queries
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from local.backends.embedded.failure import invalid, unsupported
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.protos import Document, StructuredAggregationQuery, Value
from local.backends.embedded.firestore.writes import MAX_INTEGER, MIN_INTEGER

MAX_AGGREGATIONS = 5

_Aggregation = StructuredAggregationQuery.Aggregation


class Aggregates:
    """Validated aggregations. Only documents that have all fields at `paths` count."""

    def __init__(self, aggregations: Sequence[_Aggregation]) -> None:
        if not aggregations:
            raise invalid("Aggregations can not be empty.")
        if len(aggregations) > MAX_AGGREGATIONS:
            raise invalid(f"The maximum number of aggregations is {MAX_AGGREGATIONS}.")
        self._by_alias: dict[str, _Aggregation] = {}
        unnamed = 0
        for one in aggregations:
            unnamed += not one.alias
            alias = one.alias or f"field_{unnamed}"
            if alias in self._by_alias:
                raise invalid(f"Aggregation aliases contain duplicate alias: {alias}.")
            self._by_alias[alias] = one
        self.paths = [path for one in aggregations if (path := _path(one)) is not None]

    def of(self, documents: Sequence[Document]) -> Iterator[tuple[str, Value]]:
        """The value of each aggregation, with its alias."""
        for alias, one in self._by_alias.items():
            path = _path(one)
            if path is None:
                count = min(len(documents), one.count.up_to.value) if one.count.HasField("up_to") else len(documents)
                yield alias, Value(integer_value=count)
            else:
                found = (fields.get(document.fields, path) for document in documents)
                combine = _sum if one.HasField("sum") else _average
                yield alias, combine([number for value in found for number in _numbers(value)])


def _path(one: _Aggregation) -> fields.Path | None:
    """The field that is added up; None if documents are counted."""
    match one.WhichOneof("operator"):
        case "count":
            return None
        case "sum" | "avg" as name:
            path = fields.parse(getattr(one, name).field.field_path)
            if path == (fields.NAME,):
                raise invalid("Aggregations are not supported for the property: __key__")
            return path
        case None:
            raise invalid("Operator field in Aggregation is not set.")
        case other:
            raise unsupported(f"the aggregation {other}")


def _numbers(value: Value | None) -> Iterator[int | float]:
    """The number that a field holds, if it holds one."""
    if value is not None and value.HasField("integer_value"):
        yield value.integer_value
    elif value is not None and value.HasField("double_value"):
        yield value.double_value


def _sum(numbers: Sequence[int | float]) -> Value:
    total = sum(numbers)
    if isinstance(total, int) and MIN_INTEGER <= total <= MAX_INTEGER:
        return Value(integer_value=total)
    return Value(double_value=total)


def _average(numbers: Sequence[int | float]) -> Value:
    return Value(double_value=sum(numbers) / len(numbers)) if numbers else Value(null_value=0)

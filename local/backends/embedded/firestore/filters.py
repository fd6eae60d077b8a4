"""Query filters: the documents that a `where` matches. Pure.

A filter on a field never matches a document without that field.
https://firebase.google.com/docs/firestore/query-data/queries
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

from google.cloud.firestore_v1.types import StructuredQuery as Api

from local.backends.embedded.failure import invalid, unsupported
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.protos import Document, StructuredQuery, Value
from local.backends.embedded.firestore.values import SortKey, number_key, sort_key, type_rank

Condition = Callable[[Document], bool]
#: Decides on a field's value; the second argument is its sort key.
Test = Callable[[Value, SortKey], bool]
Leaf = StructuredQuery.FieldFilter | StructuredQuery.UnaryFilter

_Op = Api.FieldFilter.Operator
_Unary = Api.UnaryFilter.Operator
_Composite = Api.CompositeFilter.Operator

_RANGES: dict[int, Callable[[SortKey, SortKey], bool]] = {
    _Op.LESS_THAN: operator.lt,
    _Op.LESS_THAN_OR_EQUAL: operator.le,
    _Op.GREATER_THAN: operator.gt,
    _Op.GREATER_THAN_OR_EQUAL: operator.ge,
}
_INEQUALITIES = {*_RANGES, _Op.NOT_EQUAL, _Op.NOT_IN}
_UNARY_INEQUALITIES = {_Unary.IS_NOT_NULL, _Unary.IS_NOT_NAN}

_NULL = sort_key(Value(null_value=0))
_NAN = number_key(float("nan"))


def compile_filter(where: StructuredQuery.Filter) -> Condition:
    """A predicate for the filter, which `limits.check_filter` must have accepted."""
    kind = where.WhichOneof("filter_type")
    if kind is None:
        return lambda _: True
    if kind == "composite_filter":
        return _composite(where.composite_filter)
    one = where.field_filter if kind == "field_filter" else where.unary_filter
    path = fields.parse(one.field.field_path)
    test = _field_test(one) if kind == "field_filter" else _unary_test(one)

    def condition(document: Document) -> bool:
        value = fields.value_of(document, path)
        return value is not None and test(value, sort_key(value))

    return condition


def leaves(where: StructuredQuery.Filter) -> Iterator[Leaf]:
    """The simple filters that the filter consists of."""
    kind = where.WhichOneof("filter_type")
    if kind == "composite_filter":
        for part in where.composite_filter.filters:
            yield from leaves(part)
    elif kind is not None:
        yield getattr(where, kind)


def inequality_paths(where: StructuredQuery.Filter) -> Iterator[fields.Path]:
    """The fields that results are ordered by because the filter compares them other than for equality."""
    for one in leaves(where):
        if one.op in (_INEQUALITIES if isinstance(one, StructuredQuery.FieldFilter) else _UNARY_INEQUALITIES):
            yield fields.parse(one.field.field_path)


def has_key_equality(where: StructuredQuery.Filter) -> bool:
    """Whether the filter compares the name for equality."""
    ones = (one for one in leaves(where) if isinstance(one, StructuredQuery.FieldFilter))
    return any((one.op, one.field.field_path) == (_Op.EQUAL, fields.NAME) for one in ones)


def required(where: StructuredQuery.Filter) -> Iterator[StructuredQuery.FieldFilter]:
    """The field filters that every document found passes."""
    kind = where.WhichOneof("filter_type")
    if kind == "field_filter":
        yield where.field_filter
    elif kind == "composite_filter" and where.composite_filter.op == _Composite.AND:
        for part in where.composite_filter.filters:
            yield from required(part)


def equal_keys(one: StructuredQuery.FieldFilter) -> set[SortKey] | None:
    """The values, as sort keys, one of which the field has; None if the filter says something else."""
    if one.op == _Op.EQUAL:
        return {sort_key(one.value)}
    return _elements(one.value) if one.op == _Op.IN else None


def key_range(one: StructuredQuery.FieldFilter) -> tuple[SortKey, SortKey | None] | None:
    """The sort keys between which the field's value lies, with the second only if known; None as in `equal_keys`."""
    key = sort_key(one.value)
    if one.op in (_Op.GREATER_THAN, _Op.GREATER_THAN_OR_EQUAL):
        return key, None
    return ((type_rank(one.value),), key) if one.op in (_Op.LESS_THAN, _Op.LESS_THAN_OR_EQUAL) else None


def _composite(where: StructuredQuery.CompositeFilter) -> Condition:
    if not where.filters or where.op not in (_Composite.AND, _Composite.OR):
        raise invalid("A composite filter needs AND or OR, and at least one filter.")
    parts = [compile_filter(part) for part in where.filters]
    combine = all if where.op == _Composite.AND else any
    return lambda document: combine(part(document) for part in parts)


def _unary_test(where: StructuredQuery.UnaryFilter) -> Test:
    tests: dict[int, Test] = {
        _Unary.IS_NULL: lambda _, key: key == _NULL,
        _Unary.IS_NAN: lambda _, key: key == _NAN,
        _Unary.IS_NOT_NULL: lambda _, key: key != _NULL,
        _Unary.IS_NOT_NAN: lambda _, key: key not in (_NAN, _NULL),
    }
    if where.op not in tests:
        raise invalid("A unary filter without an operator.")
    return tests[where.op]


def _field_test(where: StructuredQuery.FieldFilter) -> Test:
    wanted = sort_key(where.value)
    if where.op == _Op.EQUAL:
        return lambda _, key: key == wanted
    if where.op == _Op.NOT_EQUAL:
        return lambda _, key: key not in (wanted, _NULL)
    if where.op in _RANGES:
        return _range_test(_RANGES[where.op], where.value, wanted)
    if where.op == _Op.ARRAY_CONTAINS:
        return lambda value, _: wanted in _elements(value)
    return _list_test(where)


def _range_test(compare: Callable[[SortKey, SortKey], bool], bound: Value, wanted: SortKey) -> Test:
    rank = type_rank(bound)
    return lambda value, key: type_rank(value) == rank and compare(key, wanted)


def _list_test(where: StructuredQuery.FieldFilter) -> Test:
    if where.op not in (_Op.IN, _Op.NOT_IN, _Op.ARRAY_CONTAINS_ANY):
        raise unsupported(f"the filter operator {where.op}")
    wanted = _elements(where.value)
    if where.op == _Op.IN:
        return lambda _, key: key in wanted
    if where.op == _Op.ARRAY_CONTAINS_ANY:
        return lambda value, _: not wanted.isdisjoint(_elements(value))
    return lambda _, key: _NULL not in wanted and key not in wanted and key != _NULL


def _elements(value: Value) -> set[SortKey]:
    return {sort_key(element) for element in value.array_value.values}

"""The combinations of filters that Firestore refuses. Pure.

https://firebase.google.com/docs/firestore/query-data/queries#query_limitations
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from google.cloud.firestore_v1.types import StructuredQuery as Api

from local.backends.embedded.failure import invalid
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.filters import has_key_equality, inequality_paths
from local.backends.embedded.firestore.protos import StructuredQuery
from local.backends.embedded.firestore.values import SortKey, sort_key

_Op = Api.FieldFilter.Operator
_Unary = Api.UnaryFilter.Operator
_Composite = Api.CompositeFilter.Operator

MAX_DISJUNCTIONS = 30
MAX_VALUES = {_Op.IN: 30, _Op.ARRAY_CONTAINS_ANY: 30, _Op.NOT_IN: 10}
_NEGATIONS = (_Op.NOT_EQUAL, _Op.NOT_IN, _Unary.IS_NOT_NAN, _Unary.IS_NOT_NULL)
#: Each list operator, and the operator that it is an OR of.
_SINGLE = {_Op.IN: _Op.EQUAL, _Op.ARRAY_CONTAINS_ANY: _Op.ARRAY_CONTAINS}

#: A simple filter: the field, the operator, the operand.
_Leaf = tuple[str, object, SortKey]
#: An OR of ANDs.
_Normal = set[frozenset[_Leaf]]


def check_filter(where: StructuredQuery.Filter) -> None:
    """Raise INVALID_ARGUMENT for a filter that Firestore refuses."""
    operators = list(_operators(where))
    if sum(operator in _NEGATIONS for operator in operators) > 1:
        raise invalid("Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query.")
    if _Op.NOT_IN in operators and {_Op.IN, _Op.ARRAY_CONTAINS_ANY, _Composite.OR}.intersection(operators):
        raise invalid("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")
    compared = set(inequality_paths(where))
    if compared and (fields.NAME,) not in compared and has_key_equality(where):
        raise invalid(
            "Equality on key is not allowed if there are other inequality fields and key does not appear in "
            "inequalities."
        )
    for conjunction in _normal(where):
        if sum(operator == _Op.ARRAY_CONTAINS for _, operator, _ in conjunction) > 1:
            raise invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")


def _operators(where: StructuredQuery.Filter) -> Iterator[object]:
    kind = where.WhichOneof("filter_type")
    if kind == "composite_filter":
        yield _Composite(where.composite_filter.op)
        for part in where.composite_filter.filters:
            yield from _operators(part)
    elif kind == "field_filter":
        yield _Op(where.field_filter.op)
    elif kind == "unary_filter":
        yield _Unary(where.unary_filter.op)


def _normal(where: StructuredQuery.Filter) -> _Normal:
    """The filter in disjunctive normal form, in which Firestore counts."""
    kind = where.WhichOneof("filter_type")
    if kind == "field_filter":
        return {frozenset([leaf]) for leaf in _leaves(where.field_filter)}
    if kind == "unary_filter":
        unary = where.unary_filter
        return {frozenset([(unary.field.field_path, _Unary(unary.op), ())])}
    if kind is None:
        return {frozenset()}
    different = {part.SerializeToString(deterministic=True): part for part in where.composite_filter.filters}
    parts = [_normal(part) for part in different.values()]
    if where.composite_filter.op == _Composite.OR:
        return _counted(itertools.chain.from_iterable(parts))
    result: _Normal = {frozenset()}
    for part in parts:
        result = _counted(left | right for left in result for right in part)
    return result


def _leaves(one: StructuredQuery.FieldFilter) -> Iterator[_Leaf]:
    operator, path = _Op(one.op), one.field.field_path
    values = one.value.array_value.values
    if path == fields.NAME and not all(
        value.HasField("reference_value") for value in (values if operator in MAX_VALUES else [one.value])
    ):
        raise invalid("__key__ filter value must be a Key")
    if operator in MAX_VALUES and not 0 < len(values) <= MAX_VALUES[operator]:
        raise invalid(f"'{operator.name}' supports up to {MAX_VALUES[operator]} comparison values.")
    if operator in _SINGLE:
        yield from ((path, _SINGLE[operator], sort_key(value)) for value in values)
    else:
        yield path, operator, sort_key(one.value)


def _counted(conjunctions: Iterable[frozenset[_Leaf]]) -> _Normal:
    normal = set(conjunctions)
    if len(normal) > MAX_DISJUNCTIONS:
        raise invalid(
            f"Too many disjunctions after normalization. Result had {len(normal)} disjunctions which is more than "
            f"the maximum of {MAX_DISJUNCTIONS}"
        )
    return normal

"""The effect of one `Write` on one document: pure functions of the write, the current document and the time.

https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#google.firestore.v1.Write
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.firestore import fields as field_paths
from local.backends.embedded.firestore import values
from local.backends.embedded.firestore.names import check_document_name
from local.backends.embedded.firestore.protos import Document, DocumentTransform, Precondition, Value, Write

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Effect:
    """The document after a write (None: it does not exist), and the results of its transforms, in order.

    The document's times are still those from before the write; a new document has none.
    """

    document: Document | None
    transform_results: Sequence[Value] = ()


def target_of(write: Write) -> str:
    """The name of the document that a write affects. Raises INVALID_ARGUMENT if there is none."""
    operation = write.WhichOneof("operation")
    if operation == "update":
        name: str = write.update.name
    elif operation == "delete":
        name = write.delete
    elif operation == "transform":
        name = write.transform.document
    else:
        raise invalid("empty write operation")
    return name


def check(write: Write) -> None:
    """Raise INVALID_ARGUMENT if a write is invalid whatever is stored; see `values.check_storable`."""
    check_document_name(target_of(write))
    if write.HasField("update"):
        values.check_storable(write.update.fields)
        for path in write.update_mask.field_paths:
            field_paths.parse(path)
    for transform in transforms_of(write):
        field_paths.parse(transform.field_path)


def check_together(batch: Sequence[Write]) -> None:
    """Raise INVALID_ARGUMENT if a write is malformed, or can't follow an earlier one to the same document.

    All writes to one document share one precondition: that of the first.
    """
    last: dict[str, Write] = {}
    for write in batch:
        check(write)
        name = target_of(write)
        if name in last:
            _check_sequence(last[name], write)
        last[name] = write


def _check_sequence(first: Write, then: Write) -> None:
    condition = then.current_document
    if condition.HasField("exists") and condition.exists == first.HasField("delete"):
        raise invalid(f"Cannot {_verb(first)} then {_verb(then)} an entity in the same request.")
    versions = [write.current_document.update_time.ToMicroseconds() for write in (first, then)]
    if versions[0] != versions[1]:
        raise invalid("Cannot collapse mutations with different version preconditions.")


def _verb(write: Write) -> str:
    if write.HasField("delete"):
        return "delete"
    if not write.current_document.HasField("exists"):
        return "upsert"
    return "update" if write.current_document.exists else "insert"


def transforms_of(write: Write) -> Sequence[DocumentTransform.FieldTransform]:
    """The field transforms of a write, from either of the two places that may contain them."""
    transforms: Sequence[DocumentTransform.FieldTransform] = (
        write.transform.field_transforms if write.HasField("transform") else write.update_transforms
    )
    return transforms


def check_precondition(precondition: Precondition, name: str, current: Document | None) -> None:
    """Raise NOT_FOUND, ALREADY_EXISTS or FAILED_PRECONDITION if the document does not meet the precondition."""
    condition = precondition.WhichOneof("condition_type")
    if condition == "exists" and precondition.exists and current is None:
        raise Failure(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
    if condition == "exists" and not precondition.exists and current is not None:
        raise Failure(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
    if condition == "update_time":
        stored = current.update_time.ToMicroseconds() if current is not None else 0
        required = precondition.update_time.ToMicroseconds()
        if stored != required:
            raise Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the stored version ({stored}) does not match the required base version ({required})",
            )


def apply(write: Write, current: Document | None, now: Timestamp) -> Effect:
    """Apply a write that passed `check` and `check_precondition`; `now` is the time of the request."""
    if write.HasField("delete"):
        return Effect(None)
    replaces = write.HasField("update") and not write.HasField("update_mask")
    base = write.update if replaces else current
    after = Document(name=target_of(write), fields=base.fields if base is not None else None)
    if current is not None and current.HasField("create_time"):
        after.create_time.CopyFrom(current.create_time)
        after.update_time.CopyFrom(current.update_time)
    for text in write.update_mask.field_paths:
        _update_field(after, write.update, field_paths.parse(text))
    results = [_transform(after, transform, now) for transform in transforms_of(write)]
    return Effect(after, results)


def _update_field(after: Document, update: Document, path: field_paths.Path) -> None:
    value = field_paths.get(update.fields, path)
    if value is None:
        field_paths.remove(after.fields, path)
    else:
        field_paths.put(after.fields, path, value)


def _transform(document: Document, transform: DocumentTransform.FieldTransform, now: Timestamp) -> Value:
    """Change one field and return the transform's result."""
    path = field_paths.parse(transform.field_path)
    before = field_paths.get(document.fields, path) or Value()
    kind = transform.WhichOneof("transform_type")
    if kind == "set_to_server_value":
        after = result = server_time(now)
    elif kind in _ARRAYS:
        operand = getattr(transform, kind).values
        after, result = _ARRAYS[kind](before.array_value.values, operand), Value(null_value=0)
    elif kind in _NUMBERS:
        after = result = _NUMBERS[kind](before, getattr(transform, kind))
    else:
        raise unsupported(f"the field transform {kind}")
    field_paths.put(document.fields, path, after)
    return result


def server_time(now: Timestamp) -> Value:
    """The time of a request as `SERVER_TIMESTAMP` stores it: in milliseconds."""
    millis = Timestamp()
    millis.FromMilliseconds(now.ToMilliseconds())
    return Value(timestamp_value=millis)


def _is_number(value: Value) -> bool:
    return value.WhichOneof("value_type") in ("integer_value", "double_value")


def _number(value: Value) -> float:
    number: float = value.integer_value if value.HasField("integer_value") else value.double_value
    return number


def increment(before: Value, operand: Value) -> Value:
    """The sum; integers saturate, and a value that isn't a number counts as zero."""
    if not _is_number(before):
        return operand
    if before.HasField("integer_value") and operand.HasField("integer_value"):
        total = before.integer_value + operand.integer_value
        return Value(integer_value=min(max(total, MIN_INTEGER), MAX_INTEGER))
    return Value(double_value=float(_number(before)) + float(_number(operand)))


def _maximum(before: Value, operand: Value) -> Value:
    return _extreme(before, operand, lambda was, given: given > was)


def _minimum(before: Value, operand: Value) -> Value:
    return _extreme(before, operand, lambda was, given: given < was)


def _extreme(before: Value, operand: Value, wins: Callable[[float, float], bool]) -> Value:
    if not _is_number(before):
        return operand
    if math.isnan(_number(before)) or math.isnan(_number(operand)):
        return Value(double_value=math.nan)
    return operand if wins(_number(before), _number(operand)) else before


_NUMBERS = {"increment": increment, "maximum": _maximum, "minimum": _minimum}


def _append_missing(before: Sequence[Value], operand: Sequence[Value]) -> Value:
    kept = list(before)
    present = {values.sort_key(element) for element in before}
    for element in operand:
        key = values.sort_key(element)
        if key not in present:
            present.add(key)
            kept.append(element)
    return _array(kept)


def _remove_all(before: Sequence[Value], operand: Sequence[Value]) -> Value:
    unwanted = {values.sort_key(element) for element in operand}
    return _array([element for element in before if values.sort_key(element) not in unwanted])


def _array(elements: Sequence[Value]) -> Value:
    result = Value()
    result.array_value.SetInParent()
    result.array_value.values.extend(elements)
    return result


_ARRAYS = {"append_missing_elements": _append_missing, "remove_all_from_array": _remove_all}

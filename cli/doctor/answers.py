"""Questions to Google's REST APIs, their answers, and how to read them. Pure.

The form of errors: https://cloud.google.com/apis/design/errors#http_mapping. Most APIs name a missing permission in an
`ErrorInfo` with the reason IAM_PERMISSION_DENIED (https://cloud.google.com/iam/docs/permission-error-messages).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.doctor.finding import Fault, Finding, judged, unknown

APPLY = "terraform apply"


@dataclass(frozen=True, slots=True)
class Question:
    """A request that changes nothing. `api` is the first part of the host, as in `run`.googleapis.com.

    `permission` is what the caller needs, as the method's reference says. `is_post`: some policies are read by POST.
    """

    api: str
    path: str
    permission: str
    is_post: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The `data` of a resource, or None: then it is missing, or (`unclear`) the text says why nothing is known."""

    data: Mapping[str, Any] | None
    unclear: str = ""


Ask = Callable[[Question], Answer]


def answer_of(question: Question, status: int, body: object) -> Answer:
    """The answer in an HTTP response; `body` is its decoded JSON, or None if it is none."""
    data = body if isinstance(body, Mapping) else {}
    if status == 200 and body is not None:
        return Answer(data)
    if status == 404:
        return Answer(None)
    reason, metadata = _error_info(data)
    if reason == "SERVICE_DISABLED":
        return Answer(None, f"the API {question.api}.googleapis.com is disabled")
    if status == 403:
        permission = metadata.get("permission") or question.permission
        return Answer(None, f"can't tell without the permission {permission}")
    said = text(data, "error", "status") or "no JSON"
    return Answer(None, f"can't tell: {question.api}.googleapis.com answers {status} ({said})")


def _error_info(data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for detail in items(data, "error", "details"):
        if text(detail, "reason"):
            return text(detail, "reason"), mapping(detail, "metadata")
    return "", {}


def judge(
    check: str, answer: Answer, name: str, faults: Callable[[Mapping[str, Any]], list[Fault]], detail: str
) -> Finding:
    """The finding about a resource with this name: unknown, missing, or what `faults` says about its data."""
    if answer.unclear:
        return unknown(check, f"{name}: {answer.unclear}")
    if answer.data is None:
        return judged(check, [Fault(f"{name} does not exist", APPLY)], "")
    return judged(check, faults(answer.data), detail)


def mapping(data: object, *path: str) -> Mapping[str, Any]:
    """The object at a path of keys; empty if there is none."""
    value = _at(data, path)
    return value if isinstance(value, Mapping) else {}


def items(data: object, *path: str) -> list[Mapping[str, Any]]:
    """The objects in the list at a path of keys; empty if there is none."""
    value = _at(data, path)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(data: object, *path: str) -> list[str]:
    """The texts in the list at a path of keys; empty if there is none."""
    value = _at(data, path)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def text(data: object, *path: str) -> str:
    """The text at a path of keys; empty if there is none."""
    value = _at(data, path)
    return value if isinstance(value, str) else ""


def number(data: object, *path: str) -> float | None:
    """The number at a path of keys, which may be a text (64-bit integers are), or a duration as in `600s`, in seconds.

    None if there is none.
    """
    value = _at(data, path)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return float(value.removesuffix("s") if isinstance(value, str) else value)
    except ValueError:
        return None


def moment(data: object, *path: str) -> datetime | None:
    """The time (with a zone) at a path of keys; None if there is none."""
    try:
        value = datetime.fromisoformat(text(data, *path))
    except ValueError:
        return None
    return value if value.tzinfo else None


def last_part(name: str) -> str:
    """The id in a resource's full name."""
    return name.rpartition("/")[2]


def _at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value

"""An installation in which everything is in order, as Google's APIs describe it (expected_answers/README.md)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cli.doctor.answers import Answer, Question, answer_of
from cli.doctor.installation import Installation, read_outputs

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
OUTPUTS: dict[str, Any] = json.loads((HERE / "outputs.json").read_text(encoding="utf-8"))
NAMES: Installation = read_outputs(OUTPUTS, None).installation

FILES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((HERE / "expected_answers").glob("*.json"))
}

Change = Callable[[dict[str, Any]], object]


def body(file: str, change: Change = lambda _: None) -> dict[str, Any]:
    """The body of an expected answer, changed."""
    data: dict[str, Any] = copy.deepcopy(FILES[file]["body"])
    change(data)
    return data


def answer(file: str, change: Change = lambda _: None) -> Answer:
    return Answer(body(file, change))


def file_for(api: str, method: str, target: str) -> str | None:
    """The file with the answer to a request; `target` is the path with the query, without the first slash."""
    parts = urlsplit(target)
    query = " ".join(value for values in parse_qs(parts.query).values() for value in values)
    for name, each in FILES.items():
        is_same = (each["api"], each["method"], each["path"]) == (api, method, parts.path)
        if is_same and all(word in query for word in each.get("query", "").split()):
            return name
    return None


class Apis:
    """Answers as expected, but for those that a test changes; counts what was asked for."""

    def __init__(self, changed: Mapping[str, Answer] | None = None) -> None:
        self._changed = changed or {}
        self.asked: list[str] = []

    def ask(self, question: Question) -> Answer:
        name = file_for(question.api, "POST" if question.is_post else "GET", question.path)
        assert name is not None, f"no answer is expected for {question}"
        self.asked.append(name)
        return self._changed.get(name) or answer(name)


def denied(permission: str | None) -> dict[str, Any]:
    """The body of a 403; most APIs name the permission, some do not.

    https://cloud.google.com/iam/docs/permission-error-messages
    """
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com",
        "metadata": {"permission": permission},
    }
    message = f"Permission '{permission}' denied on resource (or it may not exist)."
    return {
        "error": {
            "code": 403,
            "message": message if permission else "The caller does not have permission",
            "status": "PERMISSION_DENIED",
            **({"details": [info]} if permission else {}),
        }
    }


def without_permission(question: Question) -> Answer:
    return answer_of(question, 403, denied(None))

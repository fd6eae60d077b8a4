"""Subscription filters, after cloud.google.com/pubsub/docs/subscription-message-filter."""

from __future__ import annotations

import pytest

from local.backends.embedded.failure import Failure
from local.backends.embedded.pubsub.filters import compile_filter

MESSAGES: dict[str, dict[str, str]] = {
    "none": {},
    "x1": {"x": "1"},
    "x12": {"x": "12"},
    "x-": {"x": ""},
    "y": {"y": "1"},
    "xy": {"x": "1", "y": ""},
    "odd": {"a-b c": 'say "1"'},
}


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("", "none x1 x12 x- y xy odd"),
        ('attributes.x = "1"', "x1 xy"),
        ('attributes.x="1"', "x1 xy"),
        ('attributes.x != "1"', "none x12 x- y odd"),
        ("attributes:y", "y xy"),
        ('attributes:"a-b c"', "odd"),
        (r'attributes."a-b c" = "say \"1\""', "odd"),
        ('hasPrefix(attributes.x, "1")', "x1 x12 xy"),
        ('hasPrefix(attributes.x, "")', "x1 x12 x- xy"),
        ("NOT attributes:y", "none x1 x12 x- odd"),
        ("-attributes:y", "none x1 x12 x- odd"),
        ("attributes:x AND attributes:y", "xy"),
        ('attributes.x = "12" OR attributes:y', "x12 y xy"),
        ('(attributes.x = "12" OR attributes:y) AND NOT attributes:x', "y"),
        ("NOT (attributes:x OR attributes:y)", "none odd"),
    ],
)
def test_filter_lets_pass(text: str, passing: str) -> None:
    decide = compile_filter(text)
    assert [name for name, attributes in MESSAGES.items() if decide(attributes)] == passing.split()


@pytest.mark.parametrize(
    "text",
    [
        "foo",
        "attributes",
        "attributes.x",
        "attributes.x = 1",
        'attributes.x = "1" AND',
        "attributes:x AND attributes:y OR attributes:z",
        "(attributes:x",
        'hasPrefix(attributes.x "1")',
        "attributes:x attributes:y",
        'attributes.x = "open',
        'attributes.x = "' + "1" * 256 + '"',
    ],
)
def test_malformed_filters_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="filter"):
        compile_filter(text)

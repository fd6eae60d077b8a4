"""Raw blocks."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("tags inside are text", "{{{{r}}}} {{x}} {{{{/r}}}}", {"r": True}, " {{x}} "),
    Case("with a map as the context", "{{{{r}}}}{{x}}{{{{/r}}}}", {"r": {"x": 1}}, "{{x}}"),
    Case("over a list", "{{{{r}}}}{{x}};{{{{/r}}}}", {"r": [1, 2]}, "{{x}};{{x}};"),
    Case("over nothing", "[{{{{r}}}}{{x}}{{{{/r}}}}]", {}, "[]"),
    Case("with a helper", "{{{{if v}}}}{{x}}{{{{/if}}}}", {"v": 1}, "{{x}}"),
    Case("each", "{{{{each l}}}}{{x}}{{{{/each}}}}", {"l": [1, 2]}, "{{x}}{{x}}"),
    Case(
        "raw blocks inside",
        "{{{{r}}}} {{{{s}}}} {{x}} {{{{/s}}}} {{{{/r}}}}",
        {"r": True},
        " {{{{s}}}} {{x}} {{{{/s}}}} ",
    ),
    Case("closed by another name", "{{{{r}}}}x{{{{/s}}}}", {"r": True}, None),
    Case("never closed", "{{{{r}}}}x", {"r": True}, None),
    Case(
        "malformed tags inside do not matter", "{{{{r}}}} {{#if }} {{/x}} {{{{/r}}}}", {"r": True}, " {{#if }} {{/x}} "
    ),
    Case("empty", "[{{{{r}}}}{{{{/r}}}}]", {"r": True}, "[]"),
    Case("three braces inside", "{{{{r}}}}{{{x}}}{{{{/r}}}}", {"r": True}, "{{{x}}}"),
    Case("text after it", "{{{{r}}}}{{x}}{{{{/r}}}} {{x}}", {"r": True, "x": 1}, "{{x}} 1"),
)

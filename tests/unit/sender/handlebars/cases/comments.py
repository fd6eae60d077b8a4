"""Comments."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("a comment prints nothing", "a{{! no }}b", {}, "ab"),
    Case("over several lines", "a{{! no\nno }}b", {}, "ab"),
    Case("with dashes it may hold braces", "a{{!-- {{b}} }} --}}c", {"b": 1}, "ac"),
    Case("without dashes it ends with the first braces", "a{{! {{b}} }}c", {"b": 1}, "a }}c"),
    Case("an empty one", "a{{!}}b{{!----}}c{{!--}}d", {}, "abcd"),
    Case("white space control", "a {{~! x ~}} b", {}, "ab"),
    Case("dashes and white space control", "a {{~!-- x --~}} b", {}, "ab"),
    Case("alone on its line it takes the line", "a\n  {{! x }}\nb", {}, "a\nb"),
    Case("not alone it takes nothing", "a\n  {{! x }} b\nc", {}, "a\n   b\nc"),
    Case("two on one line do not stand alone", "a\n{{! x }}{{! y }}\nb", {}, "a\n\nb"),
    Case("one that never ends", "a{{! x", {}, None),
    Case("one with dashes that never ends", "a{{!-- x }}", {}, None),
    Case("a comment in a comment", "{{!-- {{! x }} --}}y", {}, "y"),
)

"""Sections: blocks named after a value."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("over true", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": True}, "[x[object Object]]"),
    Case("over false", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": False}, "[none]"),
    Case("over null", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": None}, "[none]"),
    Case("over a string", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": "s"}, "[xs]"),
    Case("over an empty string", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": ""}, "[x]"),
    Case("over zero", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": 0}, "[x0]"),
    Case("over a number", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": 3}, "[x3]"),
    Case("over a list", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": [1, 2]}, "[x1x2]"),
    Case("over an empty list", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": []}, "[none]"),
    Case("over a map", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": {"a": 1}}, "[x[object Object]]"),
    Case("over an empty map", "[{{#v}}x{{.}}{{else}}none{{/v}}]", {"v": {}}, "[x[object Object]]"),
    Case("over what is missing", "[{{#v}}x{{else}}none{{/v}}]", {}, "[none]"),
    Case("a map becomes the context", "{{#m}}{{x}}{{../y}}{{/m}}", {"m": {"x": 1}, "y": 2}, "12"),
    Case("true leaves the context", "{{#t}}{{y}}{{/t}}", {"t": True, "y": 2}, "2"),
    Case(
        "a list gives @index",
        "{{#l}}{{@index}}{{x}}{{#if @last}}.{{/if}} {{/l}}",
        {"l": [{"x": "a"}, {"x": "b"}]},
        "0a 1b. ",
    ),
    Case("a path", "{{#a.b}}{{c}}{{/a.b}}", {"a": {"b": {"c": 1}}}, "1"),
    Case("this", "{{#this}}{{x}}{{/this}}", {"x": 1}, "1"),
    Case("this, a list", "{{#.}}{{.}}{{/.}}", [1, 2], "12"),
    Case("an inverse section", "{{^v}}none{{/v}}", {}, "none"),
    Case("an inverse section over an empty list", "{{^v}}none{{/v}}", {"v": []}, "none"),
    Case("an inverse section over zero", "[{{^v}}none{{/v}}]", {"v": 0}, "[]"),
    Case("an inverse section with else", "{{^v}}none{{else}}some{{/v}}", {"v": 1}, "some"),
    Case("a caret for else", "{{#v}}x{{^}}none{{/v}}", {}, "none"),
    Case("else if", "{{#v}}x{{else if a}}A{{/v}}", {"a": 1}, "A"),
    Case("else and another section", "{{#v}}x{{else w}}<{{.}}>{{/v}}", {"w": 5}, "<5>"),
    Case("nested with the same name", "{{#a}}{{#a}}x{{/a}}{{/a}}", {"a": {"a": True}}, "x"),
    Case("a block param of a list", "{{#l as |x i|}}{{i}}{{x}}{{/l}}", {"l": ["a", "b"]}, "0a1b"),
    Case("a block param of a map gets nothing", "[{{#m as |x|}}{{x}}{{/m}}]", {"m": {"a": 1}}, "[]"),
    Case("an @ path", "{{#@root.l}}{{.}}{{/@root.l}}", {"l": [1, 2]}, "12"),
    Case("a literal", "{{#'full name'}}{{.}}{{/'full name'}}", {"full name": "x"}, "x"),
    Case("closed by another name", "{{#a}}x{{/b}}", {}, None),
    Case("never closed", "{{#a}}x", {}, None),
    Case("closed only", "x{{/a}}", {}, None),
    Case("quotes match without quotes", "{{#'a'}}x{{/a}}", {"a": True}, "x"),
    Case("closed by another spelling", "{{#a.b}}x{{/a/b}}", {}, None),
)

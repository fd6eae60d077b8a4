"""`with`, `lookup`, `log` and subexpressions."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("with a map", "{{#with m}}{{x}}{{/with}}", {"m": {"x": 1}}, "1"),
    Case("with what is missing", "[{{#with m}}x{{/with}}]", {}, "[]"),
    Case("else", "{{#with m}}x{{else}}none{{/with}}", {}, "none"),
    Case("else keeps the context", "{{#with m}}x{{else}}{{n}}{{/with}}", {"n": 1}, "1"),
    Case("an empty map is something", "{{#with m}}x{{else}}none{{/with}}", {"m": {}}, "x"),
    Case("an empty list is nothing", "{{#with m}}x{{else}}none{{/with}}", {"m": []}, "none"),
    Case("zero is something", "{{#with m}}<{{.}}>{{else}}none{{/with}}", {"m": 0}, "<0>"),
    Case("an empty string is nothing", "{{#with m}}x{{else}}none{{/with}}", {"m": ""}, "none"),
    Case("false is nothing", "{{#with m}}x{{else}}none{{/with}}", {"m": False}, "none"),
    Case("a string", "{{#with m}}{{.}} {{length}}{{/with}}", {"m": "abc"}, "abc 3"),
    Case("the opposite", "{{^with m}}none{{/with}}", {}, "none"),
    Case("two arguments", "{{#with a b}}x{{/with}}", {"a": 1}, None),
    Case("no argument", "{{#with}}x{{/with}}", {}, None),
    Case(
        "with chains",
        "{{#with a}}{{#with b}}{{c}}{{../x}}{{../../y}}{{/with}}{{/with}}",
        {"a": {"b": {"c": 1}, "x": 2}, "y": 3},
        "123",
    ),
    Case("a block param", "{{#with m as |n|}}{{n.x}}{{x}}{{/with}}", {"m": {"x": 1}}, "11"),
    Case("lookup by a literal", "{{lookup m 'x'}}", {"m": {"x": 1}}, "1"),
    Case("lookup by a field", "{{lookup m k}}", {"m": {"x": 1}, "k": "x"}, "1"),
    Case("lookup in a list", "{{lookup l 1}}", {"l": ["a", "b"]}, "b"),
    Case("lookup of a length", "{{lookup l 'length'}}", {"l": ["a", "b"]}, "2"),
    Case("lookup of what is missing", "[{{lookup m 'y'}}]", {"m": {}}, "[]"),
    Case("lookup in nothing", "[{{lookup n 'y'}}]", {}, "[]"),
    Case("lookup in zero gives zero", "[{{lookup n 'y'}}]", {"n": 0}, "[0]"),
    Case("lookup in false gives false", "[{{lookup n 'y'}}]", {"n": False}, "[false]"),
    Case("lookup in a string", "{{lookup s 0}}", {"s": "ab"}, "a"),
    Case("lookup by true", "{{lookup m true}}", {"m": {"true": 1}}, "1"),
    Case("lookup by null", "{{lookup m null}}", {"m": {"null": 1}}, "1"),
    Case("lookup by a list", "{{lookup m l}}", {"m": {"1,2": "x"}, "l": [1, 2]}, "x"),
    Case("lookup by what is missing", "{{lookup m nothing}}", {"m": {"undefined": "x"}}, "x"),
    Case("lookup of an inherited name", "[{{lookup m 'constructor'}}{{lookup m '__proto__'}}]", {"m": {}}, "[]"),
    Case("lookup with one argument", "{{lookup m}}", {"m": {"x": 1}}, None),
    Case("lookup without arguments", "{{lookup}}", {}, None),
    Case("lookup of a lookup", "{{lookup (lookup m 'a') 'b'}}", {"m": {"a": {"b": 1}}}, "1"),
    Case(
        "lookup by the index",
        "{{#each l}}{{.}}{{lookup ../m @index}} {{/each}}",
        {"l": ["a", "b"], "m": ["x", "y"]},
        "ax by ",
    ),
    Case("lookup in the root", "{{#each l}}{{lookup @root .}}{{/each}}", {"l": ["x", "y"], "x": 1, "y": 2}, "12"),
    Case("lookup as a block prints its result", "{{#lookup m 'x'}}ignored{{/lookup}}", {"m": {"x": "<"}}, "<"),
    Case("a field of a lookup needs with", "{{#with (lookup m 'a')}}{{b}}{{/with}}", {"m": {"a": {"b": 1}}}, "1"),
    Case("log prints nothing", "[{{log 'x'}}{{log a b level='error'}}]", {"a": 1}, "[]"),
    Case("an unknown helper with an argument", "{{shout name}}", {"name": "x"}, None),
    Case("an unknown helper in a subexpression", "{{#if (eq a b)}}x{{/if}}", {}, None),
    Case("an unknown helper that is not reached", "[{{#if no}}{{shout name}}{{/if}}]", {}, "[]"),
    Case("an unknown helper as a block", "{{#shout name}}x{{/shout}}", {"name": 1}, None),
    Case("a subexpression in the first place is malformed", "{{(lookup a 'b')}}", {}, None),
    Case("a subexpression that is never closed", "{{lookup (lookup a 'b' 'c'}}", {}, None),
    Case("a field named like a helper is not seen", "{{#each l}}{{lookup}}{{/each}}", {"l": [{"lookup": 1}]}, None),
    Case("brackets do not change that", "{{[if]}}", {"if": 1}, None),
    Case("a field named like an internal helper", "{{helperMissing}}", {"helperMissing": 1}, None),
    Case(
        "a string with escaped quotes", "{{lookup m \"a\\\"b\"}}{{lookup m 'a\\'b'}}", {"m": {'a"b': 1, "a'b": 2}}, "12"
    ),
    Case(
        "a negative and a fractional literal", "{{lookup m -1}}{{lookup m 1.50}}", {"m": {"-1": "a", "1.5": "b"}}, "ab"
    ),
)

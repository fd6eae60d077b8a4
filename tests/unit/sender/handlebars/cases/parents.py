"""`../` and `@../`."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("from each", "{{#each l}}{{../n}}{{.}} {{/each}}", {"l": [1, 2], "n": "x"}, "x1 x2 "),
    Case("from with", "{{#with m}}{{../n}}{{/with}}", {"m": {"a": 1}, "n": "x"}, "x"),
    Case("if adds no level", "{{#with m}}{{#if a}}{{../n}}{{/if}}{{/with}}", {"m": {"a": 1}, "n": "x"}, "x"),
    Case(
        "unless adds no level", "{{#with m}}{{#unless b}}{{../n}}{{/unless}}{{/with}}", {"m": {"a": 1}, "n": "x"}, "x"
    ),
    Case(
        "with the same context adds none",
        "{{#with m}}{{#with .}}{{../n}}{{/with}}{{/with}}",
        {"m": {"a": 1}, "n": "x"},
        "x",
    ),
    Case(
        "with an equal string adds none",
        "{{#with s}}{{#with 'a'}}{{../n}}{{/with}}{{/with}}",
        {"s": "a", "n": "x"},
        "x",
    ),
    Case("a section over true adds none", "{{#t}}[{{../n}}]{{/t}}", {"t": True, "n": "x"}, "[]"),
    Case(
        "two levels",
        "{{#each a}}{{#each b}}{{../../n}}{{../x}}{{.}} {{/each}}{{/each}}",
        {"a": [{"x": 1, "b": [2]}], "n": 3},
        "312 ",
    ),
    Case("beyond the top", "[{{../x}}{{../../x}}]", {"x": 1}, "[]"),
    Case("the parent itself", "{{#with s}}{{#with ..}}{{n}}{{/with}}{{/with}}", {"s": "a", "n": "x"}, "x"),
    Case("the parent's this", "{{#with s}}{{lookup ../this 'n'}}{{/with}}", {"s": "a", "n": "x"}, "x"),
    Case(
        "each over the parent's", "{{#with m}}{{#each ../l}}{{.}}{{/each}}{{/with}}", {"m": {"a": 1}, "l": [1, 2]}, "12"
    ),
    Case(
        "else of each adds none",
        "{{#with m}}{{#each none}}{{else}}{{../n}}{{/each}}{{/with}}",
        {"m": {"a": 1}, "n": "x"},
        "x",
    ),
    Case("else with adds one", "{{#if no}}{{else with m}}{{../n}}{{/if}}", {"m": {"a": 1}, "n": "x"}, "x"),
    Case("null adds one", "{{#each l}}[{{../n}}]{{/each}}", {"l": [None], "n": "x"}, "[x]"),
    Case("if within null", "{{#each l}}{{#if true}}[{{../n}}]{{/if}}{{/each}}", {"l": [None], "n": "x"}, "[x]"),
    Case("a parent in a path's tail", "{{#with m}}{{../o.p}}{{/with}}", {"m": {"a": 1}, "o": {"p": 5}}, "5"),
    Case("@../ beyond the top", "[{{@../index}}]", {}, "[]"),
    Case("@../root is the root", "{{#each l}}{{@../root.n}}{{/each}}", {"l": [1], "n": "x"}, "x"),
)

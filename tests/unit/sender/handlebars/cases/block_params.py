"""Block params: `as |name|`."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("each", "{{#each l as |x|}}{{x}}{{/each}}", {"l": [1, 2]}, "12"),
    Case("each with the index", "{{#each l as |x i|}}{{i}}{{x}} {{/each}}", {"l": ["a", "b"]}, "0a 1b "),
    Case("each of a map", "{{#each m as |v k|}}{{k}}={{v}} {{/each}}", {"m": {"a": 1, "b": 2}}, "a=1 b=2 "),
    Case("a field of one", "{{#each l as |x|}}{{x.n}}{{/each}}", {"l": [{"n": 1}]}, "1"),
    Case("they hide fields", "{{#each l as |n|}}{{n}}{{this.n}}{{/each}}", {"l": [{"n": 1}]}, "[object Object]1"),
    Case("this is not changed", "{{#each l as |x|}}{{n}}{{/each}}", {"l": [{"n": 1}]}, "1"),
    Case(
        "the outer one in the inner block",
        "{{#each a as |x|}}{{#each x.b as |y|}}{{x.n}}{{y}} {{/each}}{{/each}}",
        {"a": [{"n": 1, "b": [2, 3]}]},
        "12 13 ",
    ),
    Case(
        "the inner one hides the outer one",
        "{{#each a as |x|}}{{#each x as |x|}}{{x}}{{/each}}{{/each}}",
        {"a": [[1], [2]]},
        "12",
    ),
    Case("in a condition", "{{#each l as |x|}}{{#if x.n}}{{x.n}}{{/if}}{{/each}}", {"l": [{"n": 1}, {}]}, "1"),
    Case("they hide helpers", "{{#each l as |lookup|}}{{lookup}}{{/each}}", {"l": [1]}, "1"),
    Case("with", "{{#with m.n as |x|}}{{x}}{{/with}}", {"m": {"n": 1}}, "1"),
    Case("more names than values", "[{{#with m as |x y|}}{{y}}{{/with}}]", {"m": 1}, "[]"),
    Case("more names than values in each", "[{{#each l as |x y z|}}{{z}}{{/each}}]", {"l": [1]}, "[]"),
    Case("gone in else", "[{{#each l as |x|}}{{else}}{{x}}{{/each}}]", {"l": [], "x": "field"}, "[field]"),
    Case("as a partial's context", "{{#each l as |x|}}{{> p x}}{{/each}}", {"l": [{"n": 1}]}, "<1>", {"p": "<{{n}}>"}),
    Case("as a hash value", "{{#each l as |x|}}{{> p y=x}}{{/each}}", {"l": [1]}, "<1>", {"p": "<{{y}}>"}),
    Case("not seen in a partial", "{{#each l as |x|}}{{> p}}{{/each}}", {"l": [1]}, "<>", {"p": "<{{x}}>"}),
    Case(
        "seen in a partial block",
        "{{#each l as |x|}}{{#> p}}{{x}}{{/p}}{{/each}}",
        {"l": [1]},
        "<1>",
        {"p": "<{{> @partial-block}}>"},
    ),
    Case("else each with one", "{{#if no}}{{else each l as |x|}}{{x}}{{/if}}", {"l": [1]}, "1"),
    Case(
        "a path scoped by this is no block param",
        "{{#each l as |x|}}[{{this.x}}{{./x}}]{{/each}}",
        {"l": [{"x": 1}]},
        "[11]",
    ),
    Case("empty", "{{#each l as ||}}x{{/each}}", {"l": [1]}, None),
    Case("not closed", "{{#each l as |x}}x{{/each}}", {"l": [1]}, None),
    Case("before the argument", "{{#each as |x| l}}x{{/each}}", {"l": [1]}, None),
    Case("'as' is an ordinary name, too", "{{as}}{{#if as}}!{{/if}}", {"as": 1}, "1!"),
)

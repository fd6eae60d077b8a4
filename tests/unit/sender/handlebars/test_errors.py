"""Template errors give the position and describe the problem."""

from __future__ import annotations

from typing import Any

import pytest

from sender.handlebars import Mode, TemplateError, compile_template

PARTIALS = {"broken": "a\nb {{/if}}", "asking": "\n {{shout}} {{shout x}}"}


def fails(source: str, data: Any = None, *, strict: bool = False) -> str:
    with pytest.raises(TemplateError) as caught:
        compile_template(source, "html", Mode(strict=strict)).render(
            data or {},
            lambda name: compile_template(PARTIALS[name], f"html of partial '{name}'") if name in PARTIALS else None,
        )
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a\n  {{#if b}}\nc", "html, line 2, column 3: '{{#if}}' is never closed."),
        ("{{#each l}}{{/if}}", "html, line 1, column 12: '{{/if}}' can't close '{{#each}}'."),
        ("x\n{{#> lay}}{{/out}}", "html, line 2, column 11: '{{/out}}' can't close '{{#> lay}}'."),
        ("a{{/if}}", "html, line 1, column 2: '{{/' stands outside of any block."),
        ("a\n\n{{else}}", "html, line 3, column 1: '{{else}}' stands outside of any block."),
        ("{{name", "html, line 1, column 7: Expected '}}', found the end of the template."),
        ("{{{name}}", "html, line 1, column 8: Expected '}}}', found '}}'."),
        ("{{a.b/}}", "html, line 1, column 7: Expected a name, found '}}'."),
        ("{{rows.0}}", "html, line 1, column 8: Expected a name, found a number."),
        ("{{}}", "html, line 1, column 3: Expected a name or a value, found '}}'."),
        ("{{a * b}}", "html, line 1, column 5: Expected '}}', found a character that has no meaning here."),
        ("{{a/../b}}", "html, line 1, column 3: 'a/..' is no path: '..' can only be at its beginning."),
        ("{{! x", "html, line 1, column 1: This comment is never closed."),
        ("{{{{raw}}}} x", "html, line 1, column 12: Nothing closes the raw block that '}}}}' begins here."),
        ("{{{{a}}}}{{{{/b}}}}", "html, line 1, column 10: '{{{{/b}}}}' can't close this raw block."),
        ("{{> p a b}}", "html, line 1, column 1: A partial takes one context; name further values ('a=b')."),
        ("{{#*inline 'x'}}{{else}}{{/inline}}", "html, line 1, column 17: A '{{#*' block can't have an '{{else}}'."),
        ("a\0", "html, line 1, column 2: There is a NUL character."),
        ("é{{😀}}{{a b", "html, line 1, column 12: Expected '}}', found the end of the template."),
    ],
)
def test_malformed_templates(source: str, text: str) -> None:
    assert fails(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("\n{{shout name}}", "html, line 2, column 1: There is no helper 'shout'."),
        ("{{#if (eq a b)}}{{/if}}", "html, line 1, column 7: There is no helper 'eq'."),
        ("a {{> missing}}", "html, line 1, column 3: There is no partial 'missing'."),
        ("{{> (lookup . 'x')}}", "html, line 1, column 1: There is no partial of the name that this comes to."),
        ("{{> broken}}", "html of partial 'broken', line 2, column 3: '{{/' stands outside of any block."),
        ("{{> asking}}", "html of partial 'asking', line 2, column 12: There is no helper 'shout'."),
        ("{{#if}}{{/if}}", "html, line 1, column 1: 'if' takes exactly one argument."),
        ("{{if a}}", "html, line 1, column 1: 'if' is a block: '{{#if …}}'."),
        ("{{lookup a b c}}", "html, line 1, column 1: 'lookup' takes a value and the name of what to look up in it."),
        ("{{#if 1 as |x|}}{{x}}{{/if}}", "html, line 1, column 19: The block gives no value to 'x'."),
        ("{{#*other}}{{/other}}", "html, line 1, column 1: The only decorator is '{{#*inline \"name\"}}…{{/inline}}'."),
    ],
)
def test_rendering_errors(source: str, text: str) -> None:
    assert fails(source) == text


def test_missing_values_in_strict_mode() -> None:
    assert (
        fails("{{a}}\n{{b.c}}", {"a": 1, "b": {}}, strict=True)
        == "html, line 2, column 3: There is no 'c' in the data."
    )

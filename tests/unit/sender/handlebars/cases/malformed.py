"""Templates that are malformed."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("a tag that never ends", "x {{a", {"a": 1, "l": [1]}, None),
    Case("three braces that end as two", "{{{a}}", {"a": 1, "l": [1]}, None),
    Case("two braces that end as three", "{{a}}}", {"a": 1, "l": [1]}, None),
    Case("an empty tag", "{{}}", {"a": 1, "l": [1]}, None),
    Case("an empty tag with a space", "{{ }}", {"a": 1, "l": [1]}, None),
    Case("a block without a name", "{{#}}x{{/}}", {"a": 1, "l": [1]}, None),
    Case("a path that ends in a dot", "{{a.}}", {"a": 1, "l": [1]}, None),
    Case("a path that begins with a slash", "{{/a}}", {"a": 1, "l": [1]}, None),
    Case("two dots in a path", "{{a..b}}", {"a": 1, "l": [1]}, None),
    Case("an odd character", "{{a*b}}", {"a": 1, "l": [1]}, None),
    Case("an exclamation mark in a path", "{{a!}}", {"a": 1, "l": [1]}, None),
    Case("a comma", "{{lookup a, b}}", {"a": 1, "l": [1]}, None),
    Case("a string that never ends", "{{lookup a 'b}}", {"a": 1, "l": [1]}, None),
    Case("a bracket that never ends", "{{[a}}", {"a": 1, "l": [1]}, None),
    Case("a hash without a value", "{{#if a b=}}x{{/if}}", {"a": 1, "l": [1]}, None),
    Case("an argument after the hash", "{{#each l a=1 l}}x{{/each}}", {"a": 1, "l": [1]}, None),
    Case("a tag in a tag", "{{a {{b}} }}", {"a": 1, "l": [1]}, None),
    Case("@ alone", "{{@}}", {"a": 1, "l": [1]}, None),
    Case("an equals sign", "{{a=1}}", {"a": 1, "l": [1]}, None),
    Case("a pipe", "{{a|b}}", {"a": 1, "l": [1]}, None),
    Case("blocks that cross", "{{#if a}}{{#each l}}{{/if}}{{/each}}", {"a": 1, "l": [1]}, None),
    Case("a partial without a name", "{{> }}", {"a": 1, "l": [1]}, None),
    Case("a caret in a partial block", "{{#> p}}a{{^}}b{{/p}}", {"a": 1, "l": [1]}, None),
    Case("an inverse block with else if", "{{^a}}x{{else if l}}y{{/a}}", {"a": 1, "l": [1]}, None),
    Case("a closing tag with an argument", "{{#if a}}x{{/if a}}", {"a": 1, "l": [1]}, None),
    Case("four braces that end as two", "{{{{a}}", {"a": 1, "l": [1]}, None),
    Case("a number with two dots", "{{lookup l 1.2.3}}", {"a": 1, "l": [1]}, None),
    Case("text and braces that are nothing", "a } b }} c", {"a": 1, "l": [1]}, "a } b }} c"),
    Case("an empty template", "", {"a": 1, "l": [1]}, ""),
    Case("white space only", " \n\t", {"a": 1, "l": [1]}, " \n\t"),
)

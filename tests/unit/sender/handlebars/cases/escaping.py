"""Escaping, and the ways around it."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("all seven characters", "{{v}}", {"v": "& < > \" ' ` ="}, "&amp; &lt; &gt; &quot; &#x27; &#x60; &#x3D;"),
    Case("nothing else", "{{v}}", {"v": "/ \\ ; : @ # % \u2028 é"}, "/ \\ ; : @ # % \u2028 é"),
    Case("what is escaped already is escaped again", "{{v}}", {"v": "&amp;"}, "&amp;amp;"),
    Case("three braces do not escape", "{{{v}}}", {"v": "<b>&</b>"}, "<b>&</b>"),
    Case("an ampersand does not escape", "{{&v}} {{& v}}", {"v": "<b>"}, "<b> <b>"),
    Case("the text around stays", "<p title='a'>{{v}}</p>", {"v": "x"}, "<p title='a'>x</p>"),
    Case("a list is escaped", "{{v}}", {"v": ["<", ">"]}, "&lt;,&gt;"),
    Case("a key is escaped", "{{#each m}}{{@key}}{{/each}}", {"m": {"<k>": 1}}, "&lt;k&gt;"),
    Case("what lookup finds is escaped", "{{lookup m 'k'}}", {"m": {"k": "<"}}, "&lt;"),
    Case("a block's output is not escaped twice", "{{#if v}}<i>{{v}}</i>{{/if}}", {"v": "<"}, "<i>&lt;</i>"),
    Case("a partial's output is not escaped twice", "{{> p}}", {"v": "<"}, "<i>&lt;</i>", {"p": "<i>{{v}}</i>"}),
    Case(
        "with noEscape nothing is",
        "{{v}} {{{v}}} {{#each l}}{{.}}{{/each}}",
        {"v": "<&'>", "l": ["<"]},
        "<&'> <&'> <",
        escape=False,
    ),
    Case("nor in partials", "{{> p}}", {"v": "<"}, "<", {"p": "{{v}}"}, escape=False),
    Case("a backslash makes a tag text", "\\{{v}}", {"v": 1}, "{{v}}"),
    Case("and only that one", "\\{{v}} {{v}} \\{{v}}", {"v": 1}, "{{v}} 1 {{v}}"),
    Case("two backslashes print one", "\\\\{{v}}", {"v": 1}, "\\1"),
    Case("three backslashes print two", "\\\\\\{{v}}", {"v": 1}, "\\\\1"),
    Case("a backslash elsewhere is text", "a\\b {{v}} \\n", {"v": 1}, "a\\b 1 \\n"),
    Case("an escaped block tag", "\\{{#if v}}x", {"v": 1}, "{{#if v}}x"),
    Case("an escaped tag up to the end", "\\{{v}}\\{{w", {"v": 1}, "{{v}}{{w"),
    Case("single braces are text", "{v} } { {{v}} }", {"v": 1}, "{v} } { 1 }"),
    Case("a value with braces is not looked at again", "{{v}}", {"v": "{{w}}", "w": 1}, "{{w}}"),
    Case("a closing brace after three", "{{{v}}}}", {"v": 1}, None),
    Case("a brace before three", "{ {{{v}}} }", {"v": 1}, "{ 1 }"),
)

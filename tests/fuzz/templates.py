"""Templates and their data."""

from __future__ import annotations

import re
from typing import Any, Final

from sender.handlebars import Limits, Mode, TemplateError, compile_template
from sender.message.html_postprocess import nesting
from tests.fuzz.generators import ANY, TEXT, joined, mapped, one_of, pick, rarely, tupled
from tests.fuzz.kind import Kind, pure

_SECONDS = 1.0
#: The most characters of a text: few, so that some templates come up against them, or many, so that all is seen.
_CHARACTERS = pick(5, 1_000_000)
#: Output that would show that a template has reached an object of Python's or JavaScript's.
_REACHED = re.compile(r"<(?:class|function|built-in|bound|module) |object at 0x|function Object|native code")

_TAGS = (
    *(
        "{{a}}",
        "{{{a}}}",
        "{{#each a}}",
        "{{/each}}",
        "{{#if a}}",
        "{{else}}",
        "{{/if}}",
        "{{#with a}}",
        "{{/with}}",
        "{{a",
        "}}",
    ),
    *(
        "{{#a}}",
        "{{/a}}",
        "{{^a}}",
        "{{> p}}",
        "{{#> p}}",
        "{{/p}}",
        "{{> (lookup . 'a')}}",
        "{{> @partial-block}}",
        "{{> p a b=a}}",
    ),
    *(
        "{{#*inline 'p'}}",
        "{{/inline}}",
        "{{../a}}",
        "{{../../a.[0]}}",
        "{{@root.a}}",
        "{{@index}}",
        "{{@key}}",
        "{{this}}",
        "{{.}}",
    ),
    *(
        "{{lookup a 'constructor'}}",
        "{{a.__class__}}",
        "{{a.__proto__}}",
        "{{constructor.constructor}}",
        "{{__class__.__mro__}}",
    ),
    *(
        "{{lookup this '__init__'}}",
        "{{#with __globals__}}",
        "{{@root.__dict__}}",
        "{{a.format}}",
        "{{a.encode}}",
        "{{a.length}}",
    ),
    *(
        "{{~a~}}",
        "{{!-- x --}}",
        "{{! x }}",
        "{{{{raw}}}}",
        "{{{{/raw}}}}",
        "\\{{a}}",
        "{{#each a as |x i|}}",
        "{{x}}{{i}}",
    ),
    *(
        "{{log a}}",
        "{{helperMissing a}}",
        "{{blockHelperMissing}}",
        "{{#if a includeZero=true}}",
        "{{a b c=(d e)}}",
        "{{[a b]}}",
    ),
)
_SOURCES = joined(rarely(TEXT, pick(*_TAGS), 0.2), 14)
_DATA = mapped(one_of(pick("a", "b", "p", "x", "constructor", "__class__"), TEXT), ANY, 4)


def _check_template(given: tuple[str, str, Any, Mode, int]) -> None:
    source, partial, data, mode, characters = given
    try:
        template = compile_template(source, "text", mode)
        called = compile_template(partial, "p", mode)
        limits = Limits(seconds=_SECONDS, characters=characters)
        text = template.render(data, lambda name: called if name == "p" else None, limits)
    except TemplateError as error:
        assert str(error).encode("utf-8", "replace")
        return
    assert len(text) <= characters
    assert not _REACHED.search(text)


_PAGE_PIECES = (
    *(
        "<![x",
        "<![ ",
        "<![CDATA[",
        "<![if !IE]>",
        "<![endif]-->",
        "]]>",
        "<!",
        "<!doctype html>",
        "<!DOCTYPE [<!x]>",
        "<!--",
        "-->",
    ),
    *(
        "<a b='",
        "<a ",
        "</a",
        "</",
        "<",
        ">",
        "<p>",
        "<td>",
        "<table>" * 90,
        "</table>",
        "<br/>",
        "<style>",
        "</style>",
        "<script>",
    ),
    *(
        "<?php",
        "?>",
        "&#x",
        "&#99999999999;",
        "&a",
        "&lt;",
        "x",
        " ",
        "<svg><style>",
        "<template>",
        "<textarea>",
        "<title>",
        "<plaintext>",
    ),
)
_PAGES = joined(rarely(TEXT, pick(*_PAGE_PIECES), 0.1), 12)


def _check_page(html: str) -> None:
    assert nesting(html) <= html.count("<")


_MODES = pick(Mode(), Mode(escape=False), Mode(strict=True))

KINDS: Final = (
    Kind(
        "templates and their data",
        "a text or an error within the limits of time and size; nothing but the data is reached",
        tupled(_SOURCES, _SOURCES, _DATA, _MODES, _CHARACTERS),
        pure(_check_template),
        few=500,
    ),
    Kind("HTML pages", "the nesting of any page is found, and no more than it has tags", _PAGES, pure(_check_page)),
)

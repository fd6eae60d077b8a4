"""Whatever a template does with a document of 1 MiB, rendering takes a limited amount of memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from sender.handlebars import Limits, TemplateError, compile_template

#: The characters that a mail may render; each takes up to four bytes.
CHARACTERS = 5_000_000
MOST_BYTES = 64 * 1024 * 1024

TEXT = "x" * 900_000
LIST = [1] * 300_000
MAP = dict.fromkeys(map(str, range(60_000)), 1)
NESTED = {"a": {"a": {"a": LIST}}}

AMPLIFIERS: list[Any] = [
    pytest.param("{{> p user label='x'}}", {"p": "{{label}}"}, {"user": TEXT}, id="a string as a map"),
    pytest.param("{{> p user label='x'}}", {"p": "{{label}}"}, {"user": "é" * 450_000}, id="a string beyond ASCII"),
    pytest.param("{{> p list label='x'}}", {"p": "{{> p . label='x'}}"}, {"list": LIST}, id="a list, recursively"),
    pytest.param("{{> p map label='x'}}", {"p": "{{> p . label='x'}}"}, {"map": MAP}, id="a map, recursively"),
    pytest.param("{{> p a=1}}", {"p": "{{#each map}}{{> p .. a=1}}{{/each}}"}, {"map": MAP}, id="a map, in loops"),
    pytest.param("{{> p}}", {"p": "{{#each list}}{{#with ..}}{{> p}}{{/with}}{{/each}}"}, {"list": LIST}, id="loops"),
    pytest.param("{{> p}}", {"p": "{{#each map}}{{#with ..}}{{> p}}{{/with}}{{/each}}"}, {"map": MAP}, id="map loops"),
    pytest.param("{{#each list}}{{@index}}{{/each}}", {}, {"list": LIST}, id="many short texts"),
    pytest.param("{{#each list}}{{#each ../list}}{{@index}}{{/each}}{{/each}}", {}, {"list": LIST}, id="output"),
    pytest.param("{{text}}" * 100, {}, {"text": TEXT}, id="a text, often"),
    pytest.param("{{text}}" * 100, {}, {"text": "<" * 900_000}, id="a text to escape"),
    pytest.param("{{text}}" * 100, {}, {"text": "\U0001f600" * 225_000}, id="characters of four bytes"),
    pytest.param("{{list}}" * 100, {}, {"list": LIST}, id="a list as text"),
    pytest.param("  {{> p}}\n" * 3, {"p": "  {{> q}}\n", "q": "\n" * 1_000_000}, {}, id="indents"),
    pytest.param(
        "{{#> p}}{{text}}{{/p}}",
        {"p": "{{#if @partial-block}}{{> @partial-block}}{{/if}}" * 100},
        {"text": TEXT},
        id="a block as a value",
    ),
    pytest.param('{{#*inline "a"}}x{{/inline}}' * 5_000 + "{{> p}}", {"p": "{{> p}}"}, {}, id="inline partials"),
    pytest.param(
        "{{#> p}}" + '{{#*inline "a"}}x{{/inline}}' * 500 + "{{/p}}",
        {"p": "{{#> p}}{{/p}}"},
        {},
        id="inline partials, recursively",
    ),
    pytest.param("{{text.length}}" * 5_000, {}, {"text": "é" * 450_000}, id="lengths"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "partials", "data"), AMPLIFIERS)
def test_rendering_takes_limited_memory(source: str, partials: Mapping[str, str], data: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        with suppress(TemplateError):  # a limit is one good answer, an output another
            template = compile_template(source, "html")
            compiled = {name: compile_template(text, name) for name, text in partials.items()}
            template.render(data, compiled.get, Limits(seconds=2.0, characters=CHARACTERS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["{{a}}", "{{#if a}}{{/if}}", "{{> p}}", '{{#*inline "a"}}{{/inline}}'])
def test_a_template_with_too_many_tags_does_not_compile(tag: str) -> None:
    with pytest.raises(TemplateError, match=r"html, line 1, column [0-9]+: The template has more than 100,000 words"):
        compile_template(tag * 50_000, "html")


def test_a_partial_still_gets_an_extended_copy_of_a_usual_map_in_each_of_many_rows() -> None:
    template = compile_template("{{#each rows}}{{> row . n=@index}}{{/each}}", "html")
    row = compile_template("{{n}}{{name}},", "row")
    rows = [{"name": "x", **{f"field-{number}": number for number in range(50)}}] * 3_000
    assert template.render({"rows": rows}, {"row": row}.get).count("x,") == 3_000


def test_a_text_is_announced_before_it_is_long() -> None:
    announced: list[bool] = []
    limits = Limits(quiet=10, announce=lambda: announced.append(True))
    assert compile_template("{{a}}", "html").render({"a": "x" * 10}, limits=limits) == "x" * 10
    assert announced == []
    assert compile_template("{{a}}{{a}}", "html").render({"a": "x" * 10}, limits=limits) == "x" * 20
    assert announced == [True]

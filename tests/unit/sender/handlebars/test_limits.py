"""Templates can't exceed their limits, or access anything but their data."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sender.handlebars import Limits, Mode, Template, TemplateError, compile_template


def render(source: str, data: Any = None, partials: dict[str, str] | None = None, **limits: Any) -> str:
    compiled = {name: compile_template(text, name) for name, text in (partials or {}).items()}
    return compile_template(source, "html").render(data or {}, compiled.get, Limits(**limits))


def test_output_has_a_limit() -> None:
    data = {"many": [0] * 1000}
    assert len(render("{{#each many}}12345{{/each}}", data, characters=5000)) == 5000
    with pytest.raises(TemplateError, match=r"html, line 1, column 15: The output exceeds 4,999 characters here\."):
        render("{{#each many}}12345{{/each}}", data, characters=4999)


def test_a_value_printed_often_counts_each_time() -> None:
    with pytest.raises(TemplateError, match="exceeds 250 characters"):
        render("{{v}}{{v}}{{{v}}}", {"v": "x" * 100}, characters=250)


def test_indented_output_is_counted_once() -> None:
    assert render("  {{> p}}\n", partials={"p": "12345678\n"}, characters=11) == "  12345678\n"


def test_indents_count_line_by_line() -> None:
    with pytest.raises(TemplateError, match="exceeds 1,000 characters"):
        render(" " * 100 + "{{> p}}\n", partials={"p": "\n" * 900}, characters=1000)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{#each many}}{{#each ../many}}{{/each}}{{/each}}", id="loops that print nothing"),
        pytest.param("{{#each many}}{{> empty}}{{/each}}", id="partials"),
        pytest.param("{{#each many}}{{lookup this 'x'}}{{/each}}", id="lookups"),
    ],
)
def test_time_has_a_limit(source: str) -> None:
    ticks = itertools.count()
    template, empty = compile_template(source, "html"), compile_template("", "empty")
    with pytest.raises(TemplateError, match="Rendering takes too long; time was up here"):
        template.render({"many": [1] * 1000}, lambda name: empty, Limits(seconds=500), lambda: float(next(ticks)))


def test_infinite_recursion_of_a_partial_is_stopped() -> None:
    with pytest.raises(TemplateError, match=r"p, line 1, column 1: More than 100 blocks and partials are nested here"):
        render("{{> p}}", partials={"p": "{{> p}}"})


def test_a_depth_limit_beyond_pythons_stack_still_raises_template_error() -> None:
    with pytest.raises(TemplateError, match="nested too deeply"):
        render("{{> p}}", partials={"p": "{{> p}}"}, depth=10**6)


def test_a_tree_of_thirty_levels_is_fine() -> None:
    tree: dict[str, Any] = {"name": 30}
    for level in reversed(range(30)):
        tree = {"name": level, "kids": [tree]}
    text = render("{{> node}}", tree, {"node": "{{name}} {{#each kids}}{{> node}}{{/each}}"})
    assert text == "".join(f"{level} " for level in range(31))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{#if a}}" * 100 + "{{/if}}" * 100, id="blocks"),
        pytest.param("{{lookup " + "(lookup " * 100 + "a 'b'" + ") 'b'" * 100 + "}}", id="subexpressions"),
        pytest.param("{{#if a}}" + "{{else if b}}" * 100 + "{{/if}}", id="else if"),
        pytest.param("{{#> p}}" * 100 + "{{/p}}" * 100, id="partial blocks"),
    ],
)
def test_a_template_nested_too_deeply_does_not_compile(source: str) -> None:
    with pytest.raises(TemplateError, match="More than 60 levels are nested here"):
        compile_template(source, "html")


def test_many_blocks_side_by_side_are_not_nested() -> None:
    assert render("{{#if a}}{{else if b}}x{{/if}}{{lookup (lookup . 'c') 'd'}}" * 200, {"b": 1}) == "x" * 200


class Secret:
    """An object whose attributes must stay inaccessible."""

    password = "swordfish"

    def __str__(self) -> str:
        return self.password

    def __getitem__(self, name: str) -> str:
        return self.password


@pytest.mark.parametrize(
    "source",
    [
        "{{v.__class__}}{{v.__dict__}}{{v.__init__}}",
        "{{s.upper}}{{s.__class__.__mro__}}{{s.format}}",
        "{{m.items}}{{m.keys}}{{m.get}}{{m.__class__}}",
        "{{l.append}}{{l.__len__}}{{l.count}}",
        "{{lookup s '__class__'}}{{lookup m 'items'}}{{lookup l 'pop'}}",
        "{{t.year}}{{t.tzinfo}}{{b.decode}}{{n.real}}{{n.numerator}}",
        "{{@root.__class__}}{{@root.items}}{{this.keys}}",
        "{{#with v}}{{password}}{{/with}}{{v.password}}{{lookup v 'password'}}{{v.[0]}}",
        "{{#each m.items}}x{{/each}}{{#each v}}x{{/each}}",
    ],
)
def test_no_attribute_of_a_python_object_is_reached(source: str) -> None:
    from datetime import UTC, datetime

    data = {"v": Secret(), "s": "s", "m": {}, "l": [], "t": datetime(2026, 1, 2, tzinfo=UTC), "b": b"b", "n": 5}
    assert render(source, data) == ""


def test_an_object_of_an_unknown_type_prints_as_an_object() -> None:
    assert render("{{v}}", {"v": Secret()}) == "[object Object]"


def test_errors_quote_the_template_and_never_the_data() -> None:
    with pytest.raises(TemplateError) as caught:
        render("{{> (lookup . 'which')}}", {"which": "ada@example.com"})
    assert "ada" not in str(caught.value)


def test_data_is_never_compiled() -> None:
    assert render("{{a}}{{> p x=a}}", {"a": "{{b}}", "b": "B"}, {"p": "{{{x}}}"}) == "{{b}}{{b}}"


def test_the_data_is_not_modified() -> None:
    data = {"a": {"b": [1, {"c": 2}]}}
    render("{{> p a x=1}}{{#each a.b}}{{> p this y=2}}{{/each}}", data, {"p": "{{x}}"})
    assert data == {"a": {"b": [1, {"c": 2}]}}


def test_one_template_serves_many_threads() -> None:
    partial = compile_template("{{#*inline 'x'}}<{{n}}>{{/inline}}{{> x}}{{> @partial-block}}", "p")
    template = compile_template("{{#each l}}{{#> p n=this}}{{@index}}{{/p}}{{/each}}", "html")

    def one(number: int) -> str:
        return template.render({"l": [number] * 20}, {"p": partial}.get)

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(one, range(200)))
    assert texts == ["".join(f"<{number}>{index}" for index in range(20)) for number in range(200)]


def test_escaping_belongs_to_the_template_that_is_compiled() -> None:
    def text(escape: bool) -> str:
        template: Template = compile_template("{{v}}", "text", Mode(escape=escape))
        return template.render({"v": "<"})

    assert (text(True), text(False)) == ("&lt;", "<")

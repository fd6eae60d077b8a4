"""Names in templates that lead nowhere, in all of the language's ways to name something."""

from __future__ import annotations

from typing import Any

import pytest

from cli.template_names import findings
from sender.handlebars import Mode, TemplateError, compile_template
from sender.handlebars.nodes import Program
from sender.handlebars.parser import parse
from tests.unit.sender.handlebars.case import Case, all_cases

DATA: dict[str, Any] = {
    "name": "Ada",
    "user": {"email": "a@b.c", "age": 0, "nick": None},
    "items": [{"title": "x", "price": 1}, {"title": "y"}],
    "tags": ["a", "b"],
    "prices": {"eur": {"n": 1}, "usd": {"n": 2}},
    "none": [],
    "yes": True,
}
PARTIALS = {
    "footer": "{{company}}",
    "row": "{{title}}",
    "deep": "{{> footer}}{{> missing}}",
    "self": "{{name}}{{> self}}",
    "out": "{{../name}}",
    "rooted": "{{@root.name}}{{@root.nothing}}",
}


def find(name: str) -> Program | None:
    return parse(PARTIALS[name], name) if name in PARTIALS else None


def texts(source: str, data: dict[str, Any] | None = DATA) -> list[str]:
    compile_template(source, "t")
    return [f"{each.spot.origin}:{each.spot.column} {each.text}" for each in findings(parse(source, "t"), find, data)]


@pytest.mark.parametrize(
    "source",
    [
        "{{name}}{{{name}}}{{&name}}{{this.name}}{{./name}}{{user.email}}{{user/email}}{{user.[email]}}",
        "{{user.age}}{{user.nick}}{{user.nick.length}}{{name.length}}{{tags.length}}{{tags.[1]}}",
        "{{#each items}}{{title}}{{../name}}{{@index}}{{@key}}{{@first}}{{@last}}{{@root.name}}{{/each}}",
        "{{#each items as |item number|}}{{item.title}}{{number}}{{../name.length}}{{/each}}",
        "{{#each items}}{{#each ../tags}}{{this}}{{../title}}{{../../name}}{{@../index}}{{/each}}{{/each}}",
        "{{#each prices}}{{n}}{{@key}}{{/each}}{{#each prices as |price currency|}}{{price.n}}{{currency}}{{/each}}",
        "{{#each none}}{{anything}}{{/each}}",
        "{{#with user}}{{email}}{{../name}}{{/with}}{{#with user as |u|}}{{u.email}}{{/with}}",
        "{{#if absent}}{{absent}}{{absent.part}}{{else}}{{name}}{{/if}}",
        "{{#if absent.part}}{{absent}}{{absent.part}}{{/if}}",
        "{{#unless absent}}none{{else}}{{absent}}{{/unless}}",
        "{{#if name}}a{{else if absent}}{{absent}}{{/if}}",
        "{{#if absent}}{{#each items}}{{../absent}}{{/each}}{{/if}}",
        "{{#each absent}}{{anything}}{{else}}nothing{{/each}}{{#with absent}}{{x}}{{else}}y{{/with}}",
        "{{#absent}}{{anything}}{{/absent}}{{^absent}}none{{/absent}}",
        "{{#items}}{{title}}{{/items}}{{#user}}{{email}}{{/user}}{{#yes}}{{name}}{{/yes}}",
        "{{lookup user 'email'}}{{#if (lookup user name)}}x{{/if}}{{log name}}",
        "{{> row title='x'}}{{#each items}}{{> row}}{{/each}}{{> row items.[0]}}",
        "{{#> nowhere}}fallback {{name}}{{/nowhere}}{{> (lookup user 'email')}}",
        '{{#*inline "own"}}{{anything}}{{> @partial-block}}{{/inline}}{{> own}}{{#> own}}{{name}}{{/own}}',
        "{{> self}}{{! a comment }}{{'name'}}",
    ],
)
def test_names_that_lead_somewhere_are_not_reported(source: str) -> None:
    assert texts(source) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("{{nme}}", ["t:3 The data has no 'nme'."], id="variable"),
        pytest.param("a{{user.mail}}", ["t:4 The data has no 'user.mail'."], id="part"),
        pytest.param("{{#each itms}}{{x}}{{/each}}", ["t:9 The data has no 'itms'."], id="list"),
        pytest.param("{{#each items}}{{name}}{{/each}}", ["t:18 The data has no 'name'."], id="wrong-context"),
        pytest.param(
            "{{#each items}}{{price}}{{/each}}", ["t:18 Some of the data has no 'price'."], id="only-in-some-items"
        ),
        pytest.param(
            "{{#each items as |item|}}{{item.nme}}{{/each}}", ["t:28 The data has no 'item.nme'."], id="block-param"
        ),
        pytest.param("{{#with user}}{{name}}{{/with}}", ["t:17 The data has no 'name'."], id="within"),
        pytest.param("{{#if name}}{{nme}}{{/if}}", ["t:15 The data has no 'nme'."], id="another-is-tested"),
        pytest.param("{{@root.nme}}", ["t:3 The data has no '@root.nme'."], id="root"),
        pytest.param("{{@indx}}", ["t:3 The data has no '@indx'."], id="frame"),
        pytest.param("{{#with user}}{{@index}}{{/with}}", ["t:17 The data has no '@index'."], id="frame-of-no-loop"),
        pytest.param("{{../name}}", ["t:3 '../name' leads out of the template's data."], id="out"),
        pytest.param("{{lookup usr 'x'}}", ["t:10 The data has no 'usr'."], id="argument"),
        pytest.param("{{#if (lookup usr 'x')}}{{/if}}", ["t:15 The data has no 'usr'."], id="in-a-subexpression"),
        pytest.param("{{tags.[7]}}", ["t:3 The data has no 'tags.7'."], id="index"),
        pytest.param("{{#user}}{{name}}{{/user}}", ["t:12 The data has no 'name'."], id="section"),
        pytest.param("{{shout name}}", ["t:1 There is no helper 'shout'."], id="helper"),
        pytest.param(
            "{{#shout}}{{x}}{{/shout}}{{#shout 1}}{{/shout}}", ["t:26 There is no helper 'shout'."], id="block"
        ),
        pytest.param("{{#if (eq name 1)}}{{/if}}", ["t:7 There is no helper 'eq'."], id="helper-in-a-condition"),
        pytest.param("{{> nowhere}}", ["t:1 There is no partial 'nowhere' for this part."], id="partial"),
        pytest.param("{{> footer}}", ["footer:3 The data has no 'company'."], id="in-a-partial"),
        pytest.param("{{> footer company=nme}}", ["t:20 The data has no 'nme'."], id="argument-of-a-partial"),
        pytest.param("{{> row user}}", ["row:3 The data has no 'title'."], id="context-of-a-partial"),
        pytest.param(
            "{{> deep}}",
            ["footer:3 The data has no 'company'.", "deep:13 There is no partial 'missing' for this part."],
            id="partials-of-partials",
        ),
        pytest.param(
            "{{#with user}}{{> out}}{{/with}}", ["out:3 '../name' leads out of the template's data."], id="no-way-out"
        ),
        pytest.param(
            "{{#with user}}{{> rooted}}{{/with}}", ["rooted:17 The data has no '@root.nothing'."], id="root-of-all"
        ),
        pytest.param(
            "{{* decorate}}", ["t:1 The only decorator is '{{#*inline \"name\"}}…{{/inline}}'."], id="decorator"
        ),
    ],
)
def test_names_that_lead_nowhere_are_reported_where_they_stand(source: str, found: list[str]) -> None:
    assert texts(source) == found


def test_without_data_nothing_is_said_about_variables() -> None:
    source = "{{nme}}{{@indx}}{{#each itms}}{{x}}{{/each}}{{> footer}}{{shout x}}{{> nowhere}}"
    assert [text.partition(" ")[2] for text in texts(source, None)] == [
        "There is no helper 'shout'.",
        "There is no partial 'nowhere' for this part.",
    ]


def test_the_same_is_reported_once() -> None:
    assert len(texts("{{> footer}}{{> footer}}")) == 1


def test_partials_that_call_each_other_in_many_ways_end() -> None:
    trees = {str(number): parse(f"{{{{> {number + 1}}}}}" * 20, str(number)) for number in range(300)}
    assert findings(parse("{{> 0}}", "t"), trees.get, {}) != []


def failure(case: Case) -> str:
    """The error of rendering, empty if there is none."""
    mode, stored = Mode(escape=case.escape, strict=case.strict), case.partials
    try:
        compile_template(case.template, "case", mode).render(
            case.data, lambda name: compile_template(stored[name], name, mode) if name in stored else None
        )
    except TemplateError as error:
        return str(error)
    return ""


CASES = [pytest.param(case, id=name) for name, case in all_cases() if isinstance(case.data, dict)]


@pytest.mark.parametrize("case", CASES)
def test_what_fails_while_rendering_is_reported_before(case: Case) -> None:
    def partial(name: str) -> Program | None:
        return parse(case.partials[name], name) if name in case.partials else None

    try:
        found = findings(parse(case.template, "case"), partial, case.data)
    except TemplateError:
        return  # malformed
    error = failure(case)
    if "@partial-block" in error:
        return  # depends on who calls the partial
    if "There is no helper" in error or "There is no partial '" in error:
        assert any("There is no" in each.text for each in found), error

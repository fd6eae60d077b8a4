"""`each` and the `@` variables it gives."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

PEOPLE = {"people": [{"name": "Ada", "pets": ["cat", "dog"]}, {"name": "Bob", "pets": []}]}
CASES = (
    Case("a list of maps", "{{#each people}}{{name}},{{/each}}", PEOPLE, "Ada,Bob,"),
    Case("a list of strings", "{{#each l}}{{this}};{{/each}}", {"l": ["a", "b"]}, "a;b;"),
    Case("a list with null", "{{#each l}}[{{this}}]{{/each}}", {"l": [None, 0, False, ""]}, "[][0][false][]"),
    Case("an empty list", "{{#each l}}x{{else}}none{{/each}}", {"l": []}, "none"),
    Case("nothing", "{{#each l}}x{{else}}none{{/each}}", {}, "none"),
    Case("null", "{{#each l}}x{{else}}none{{/each}}", {"l": None}, "none"),
    Case("a string is no list", "{{#each l}}x{{else}}none{{/each}}", {"l": "abc"}, "none"),
    Case("a number is no list", "{{#each l}}x{{else}}none{{/each}}", {"l": 5}, "none"),
    Case("true is no list", "{{#each l}}x{{else}}none{{/each}}", {"l": True}, "none"),
    Case("an empty map", "{{#each l}}x{{else}}none{{/each}}", {"l": {}}, "none"),
    Case("else keeps the context", "{{#each l}}x{{else}}{{n}}{{/each}}", {"l": [], "n": 1}, "1"),
    Case("the opposite", "{{^each l}}none{{/each}}", {"l": []}, "none"),
    Case("@index", "{{#each l}}{{@index}}{{/each}}", {"l": "x"}, ""),
    Case("@index of each item", "{{#each l}}{{@index}}:{{.}} {{/each}}", {"l": ["a", "b"]}, "0:a 1:b "),
    Case(
        "@first and @last",
        "{{#each l}}{{#if @first}}<{{/if}}{{.}}{{#if @last}}>{{else}},{{/if}}{{/each}}",
        {"l": [1, 2, 3]},
        "<1,2,3>",
    ),
    Case("@first and @last of one", "{{#each l}}{{@first}}{{@last}}{{/each}}", {"l": [1]}, "truetrue"),
    Case("@key of a list is the index", "{{#each l}}{{@key}}{{/each}}", {"l": ["a", "b"]}, "01"),
    Case("a map", "{{#each m}}{{@key}}={{this}};{{/each}}", {"m": {"b": 1, "a": 2}}, "b=1;a=2;"),
    Case(
        "@index, @first and @last of a map",
        "{{#each m}}{{@index}}{{@first}}{{@last}} {{/each}}",
        {"m": {"x": 1, "y": 2}},
        "0truefalse 1falsetrue ",
    ),
    Case(
        "whole numbers come first among keys",
        "{{#each m}}{{@key}} {{/each}}",
        {"m": {"b": 0, "10": 0, "a": 0, "2": 0}},
        "2 10 b a ",
    ),
    Case(
        "keys like numbers that are none",
        "{{#each m}}{{@key}} {{/each}}",
        {"m": {"b": 0, "01": 0, "-1": 0, "1.5": 0, "4294967294": 0, "4294967295": 0, "7": 0}},
        "7 4294967294 b 01 -1 1.5 4294967295 ",
    ),
    Case("a list in a list", "{{#each l}}{{#each this}}{{.}}{{/each}};{{/each}}", {"l": [[1, 2], [3]]}, "12;3;"),
    Case(
        "nested, with the outer index",
        "{{#each people}}{{#each pets}}{{@../index}}.{{@index}} {{/each}}{{/each}}",
        PEOPLE,
        "0.0 0.1 ",
    ),
    Case(
        "the outer key",
        "{{#each m}}{{#each this}}{{@../key}}.{{@key}} {{/each}}{{/each}}",
        {"m": {"a": {"x": 1}, "b": {"y": 2}}},
        "a.x b.y ",
    ),
    Case(
        "if between does not add a frame",
        "{{#each l}}{{#if this}}{{#each ../l}}{{@../index}}{{@index}} {{/each}}{{/if}}{{/each}}",
        {"l": [1, 2]},
        "00 01 10 11 ",
    ),
    Case("@ variables end with the block", "{{#each l}}{{/each}}[{{@index}}]", {"l": [1]}, "[]"),
    Case("an unknown @ variable", "[{{@what}}]", {}, "[]"),
    Case("this as argument", "{{#each this}}{{.}}{{/each}}", {"a": 1, "b": 2}, "12"),
    Case("each at a dot", "{{#each .}}{{.}}{{/each}}", ["x", "y"], "xy"),
    Case("@root", "{{#each l}}{{@root.n}}{{/each}}", {"l": [1, 2], "n": "r"}, "rr"),
    Case("@root itself", "{{#with a}}{{#each @root.l}}{{.}}{{/each}}{{/with}}", {"a": {"x": 1}, "l": [1]}, "1"),
    Case(
        "a false step of an @ path is printed",
        "[{{@root.z.x}}{{@root.f.x}}{{@root.e.x}}{{@root.n.x}}]",
        {"z": 0, "f": False, "e": "", "n": None},
        "[0false]",
    ),
    Case("the same as an ordinary path is not", "[{{z.x}}{{f.x}}{{e.x}}]", {"z": 0, "f": False, "e": ""}, "[]"),
    Case("no argument", "{{#each}}x{{/each}}", {}, None),
    Case("two arguments", "{{#each l m}}x{{/each}}", {"l": [1]}, None),
    Case("not as a block", "{{each l}}", {"l": [1]}, None),
    Case("a hash is ignored", "{{#each l a=1}}{{.}}{{/each}}", {"l": [1]}, "1"),
    Case("a helper's result", "{{#each (lookup m 'l')}}{{.}}{{/each}}", {"m": {"l": [1, 2]}}, "12"),
    Case("else if after each", "{{#each l}}x{{else if a}}A{{else}}B{{/each}}", {"a": 1}, "A"),
)

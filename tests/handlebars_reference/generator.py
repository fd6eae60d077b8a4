"""Random templates with data and partials: mostly well-formed, dense in what is easy to get wrong."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

from tests.unit.sender.handlebars.case import Case

T = TypeVar("T")

OPENING, CLOSING = ("{{", "{{", "{{", "{{~"), ("}}", "}}", "}}", "~}}")
PARTIALS = ("p", "q", "lay out", "box")
NAMES = ("a", "b", "list", "map", "deep", "zero", "no", "nil", "text", "missing", "x", "c")
SPACE = ("", "", "", " ", "\n", "\n  ", "  \n", "\r\n", "\t", "t", "<&", "é\u00a0", "\n\n")
DATA = ("index", "key", "first", "last", "root", "root.a", "../index", "../key", "root.deep.b.c", "x")
# What has rules of its own, and what fails in most places.
ODD = (
    *("\\{{a}}", "\\\\{{a}}", "\\{{a}} \\{{b", "{{{{raw}}}} {{a}} {{{{/raw}}}}", "{{{{a}}}}\n{{b}}\n{{{{/a}}}}"),
    *("{{log a}}", "{{[a]}}", "{{deep.[b]}}", "{{list.[0]}}", "{{list.length}}", "{{@root.list.1.b}}", "{{deep.b.c}}"),
    *(
        "{{#methis}}{{.}}{{/methis}}",
        "{{2}}",
        "{{true}}",
        "{{'a'}}",
        "{{this}}",
        "{{..}}",
        "{{this.if}}",
        "{{{a}}}·{{{b}}}",
    ),
)
WRONG = ("{{else}}", "{{foo a}}", "{{a", "{{list.0}}", "{{#if a as |x|}}{{x}}{{/if}}", "{{if a}}", "{{* x}}", "{{a.}}")
SCALARS = (0, 1, -1.5, 1e21, 1e-7, 0.1, True, False, None, "", "s", "<i>", "a&b='`\"", "10", "né")


class Generator:
    """Cases from a seed; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._callable: list[str] = []
        self._escape = True

    def case(self, number: int) -> Case:
        """The next case; what is expected is for handlebars.js to say."""
        strict = self._chance(0.1)
        self._escape = self._chance(0.8)
        partials: dict[str, str] = {}
        for name in PARTIALS:
            # Each calls only those before it, so that most templates come to an end.
            self._callable = [f"'{each}'" for each in partials]
            partials[name] = (
                self._body(1)
                + ("{{#if @partial-block}}[{{> @partial-block}}]{{/if}}" if name == "box" else "")
                + self._pick(*SPACE)
            )
        self._callable = [f"'{name}'" for name in PARTIALS]
        template, data = self._body(3), self._data()
        return Case(f"random {number}", template, data, "", partials, escape=self._escape, strict=strict)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _pick(self, *choices: T) -> T:
        return self._random.choice(choices)

    def _data(self) -> dict[str, Any]:
        return {name: self._value(3) for name in NAMES if self._chance(0.7)}

    def _value(self, depth: int) -> Any:
        kind = self._random.random()
        if depth == 0 or kind < 0.35:
            return self._pick(*SCALARS)
        if kind < 0.65:
            return [self._value(depth - 1) for _ in range(self._random.randrange(4))]
        keys = (*NAMES, "10", "1", "c")
        return {self._pick(*keys): self._value(depth - 1) for _ in range(self._random.randrange(1, 6))}

    def _body(self, depth: int) -> str:
        pieces = [self._pick(*SPACE)]
        for _ in range(self._random.randrange(1, 4)):
            pieces += [self._statement(depth), self._pick(*SPACE)]
        return "".join(pieces)

    def _statement(self, depth: int) -> str:
        kinds = [self._mustache, self._mustache, self._partial, self._odd]
        if depth:
            kinds += [self._section, self._section, self._section, self._inline, self._partial_block] * 2
        return self._pick(*kinds)(depth)

    def _tag(self, inside: str, opening: str = "{{", closing: str = "}}") -> str:
        left, right = self._pick("", "", "", "~"), self._pick("", "", "", "~")
        return f"{opening}{left}{inside}{right}{closing}"

    def _mustache(self, depth: int) -> str:
        inside = self._pick(self._path(), self._path(), f"lookup {self._param()} {self._param()}", self._literal())
        if self._chance(0.15):
            return self._apart("{{{" + inside + "}}}")
        return self._apart(self._tag(self._pick("", "", "", "", "&") + inside))

    def _apart(self, tag: str) -> str:
        """Unescaped values stand apart: two numbers side by side handlebars.js 4.7 adds, which is not to be copied."""
        raw = not self._escape or tag.startswith(("{{{", "{{&", "{{~&"))
        return f"·{tag}" if raw else tag

    def _odd(self, depth: int) -> str:
        if self._chance(0.03):
            return self._pick(*WRONG)
        return self._apart(self._pick(*ODD, self._tag("! comment "), self._tag("!-- a}} --")))

    def _path(self) -> str:
        prefix = self._pick("", "", "", "", "../", "../../", "this.", "./", "@")
        if prefix == "@":
            return "@" + self._pick(*DATA)
        tail = "".join(
            self._pick(".", "/") + self._pick("a", "b", "c", "length", "[0]", "x")
            for _ in range(self._pick(0, 0, 0, 1, 2))
        )
        return prefix + self._pick(*NAMES) + tail

    def _literal(self) -> str:
        return self._pick("'a'", '"list"', "1", "0", "2.50", "true", "false", "null", "undefined", "'<'")

    def _param(self) -> str:
        kinds = (self._path, self._path, self._path, self._literal)
        return f"(lookup {self._path()} {self._literal()})" if self._chance(0.1) else self._pick(*kinds)()

    def _hash(self) -> str:
        return f" {self._pick('a', 'x', 'includeZero')}={self._param()}" if self._chance(0.25) else ""

    def _section(self, depth: int) -> str:
        name = self._pick("if", "unless", "each", "each", "with", "#", "#", "^")
        if name in "#^":
            sign, call, end = name, (path := self._path()), path
        else:
            sign, call, end = self._pick(*"#######^"), f"{name} {self._param()}{self._hash()}", name
        params = self._pick("", " as |x i|", " as |b|") if self._chance(0.5 if name == "each" else 0.1) else ""
        inverse = ""
        if self._chance(0.4):
            inverse = self._tag(self._pick("else", "^")) + self._body(depth - 1)
        if sign == "#" and self._chance(0.15):
            inverse = (
                self._tag(f"else {self._pick('if', 'each', 'with')} {self._param()}") + self._body(depth - 1) + inverse
            )
        return self._opened(sign, call + params) + self._body(depth - 1) + inverse + self._tag("/" + end)

    def _opened(self, sign: str, inside: str) -> str:
        return f"{self._pick(*OPENING)}{sign}{inside}{self._pick(*CLOSING)}"

    def _inline(self, depth: int) -> str:
        # Not of a name that a partial block calls: which of the two is meant then, depends in handlebars.js on whether
        # the partial has been called before.
        return f'{{{{#*inline "{self._pick("q", "new")}"}}}}{self._body(depth - 1)}{self._tag("/inline")}'

    def _partial(self, depth: int) -> str:
        if not self._callable:
            return self._mustache(depth)
        if self._chance(0.03):
            name = self._pick("new", "(lookup this 'text')", "missing", "@partial-block", "(lookup . 'a')")
        else:
            name = self._pick(*self._callable)
        context = self._pick("", "", " " + self._param())
        return self._opened(">", f" {name}{context}{self._hash()}")

    def _partial_block(self, depth: int) -> str:
        name = self._pick(*(each for each in self._callable if each != "'q'"), "fallback")
        return self._opened("#>", f" {name}{self._hash()}") + self._body(depth - 1) + self._tag("/" + name)

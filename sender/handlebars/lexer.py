"""Splits a template into tokens.

The rules and their order are those of handlebars.js 4.7 (`src/handlebars.l`): within a tag, the first matching rule
wins, not the longest match.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from sender.handlebars.errors import Spot, TemplateError

#: JavaScript's white space; Python's lacks U+FEFF and includes other characters.
SPACE = "\t\n\v\f\r \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"

#: Texts, names, literals, braces and other marks in a template: compiling takes 20 us and 400 bytes for each.
MAX_TOKENS = 100_000


class Kind(StrEnum):
    """The kind of a token, with the grammar's name; the value is its name in error texts."""

    CONTENT = "text"
    COMMENT = "a comment"
    OPEN_RAW_BLOCK = "'{{{{'"
    CLOSE_RAW_BLOCK = "'}}}}'"
    END_RAW_BLOCK = "the end of a raw block"
    OPEN_PARTIAL = "'{{>'"
    OPEN_PARTIAL_BLOCK = "'{{#>'"
    OPEN_BLOCK = "'{{#'"
    OPEN_ENDBLOCK = "'{{/'"
    INVERSE = "'{{else}}'"
    OPEN_INVERSE = "'{{^'"
    OPEN_INVERSE_CHAIN = "'{{else'"
    OPEN_UNESCAPED = "'{{{'"
    OPEN = "'{{'"
    CLOSE_UNESCAPED = "'}}}'"
    CLOSE = "'}}'"
    OPEN_SEXPR = "'('"
    CLOSE_SEXPR = "')'"
    EQUALS = "'='"
    ID = "a name"
    SEP = "'.' or '/'"
    STRING = "a string"
    DATA = "'@'"
    BOOLEAN = "true or false"
    UNDEFINED = "undefined"
    NULL = "null"
    NUMBER = "a number"
    OPEN_BLOCK_PARAMS = "'as |'"
    CLOSE_BLOCK_PARAMS = "'|'"
    INVALID = "a character that has no meaning here"
    EOF = "the end of the template"


class Token(NamedTuple):
    """A piece of the template: `text` without delimiters (quotes, a backslash), and its offset `at`."""

    kind: Kind
    text: str
    at: int


class Source:
    """A template's text; converts offsets to lines and columns."""

    def __init__(self, text: str, origin: str) -> None:
        self.text = text
        self._origin = origin
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def spot(self, at: int) -> Spot:
        """The line and column of an offset."""
        line = bisect_right(self._lines, at)
        return Spot(self._origin, line, at - self._lines[line - 1] + 1)


_WORD = rf"[^{SPACE}!\"#%-,./;->@\[-^`{{-~]+"
_ENDS = rf"(?=[~}}{SPACE})])"  # the characters that may follow a literal
_RULES = [
    (Kind.OPEN_SEXPR, r"\("),
    (Kind.CLOSE_SEXPR, r"\)"),
    (Kind.OPEN_RAW_BLOCK, r"\{\{\{\{"),
    (Kind.CLOSE_RAW_BLOCK, r"\}\}\}\}"),
    (Kind.OPEN_PARTIAL, r"\{\{~?>"),
    (Kind.OPEN_PARTIAL_BLOCK, r"\{\{~?#>"),
    (Kind.OPEN_BLOCK, r"\{\{~?#\*?"),
    (Kind.OPEN_ENDBLOCK, r"\{\{~?/"),
    (Kind.INVERSE, rf"\{{\{{~?\^[{SPACE}]*~?\}}\}}|\{{\{{~?[{SPACE}]*else[{SPACE}]*~?\}}\}}"),
    (Kind.OPEN_INVERSE, r"\{\{~?\^"),
    (Kind.OPEN_INVERSE_CHAIN, rf"\{{\{{~?[{SPACE}]*else\b"),
    (Kind.OPEN_UNESCAPED, r"\{\{~?\{"),
    (Kind.COMMENT, r"\{\{~?!(?=--)[\s\S]*?--~?\}\}|\{\{~?!(?!--)[\s\S]*?\}\}"),
    (Kind.OPEN, r"\{\{~?[&*]?"),
    (Kind.EQUALS, r"="),
    (Kind.ID, rf"\.\.|\.(?=[=~}}{SPACE}/.)|])"),
    (Kind.SEP, r"[/.]"),
    (Kind.CLOSE_UNESCAPED, r"\}~?\}\}"),
    (Kind.CLOSE, r"~?\}\}"),
    (Kind.STRING, r"\"(?:[^\"\\]++|\\\"|\\)*\"|'(?:[^'\\]++|\\'|\\)*'"),
    (Kind.DATA, r"@"),
    (Kind.BOOLEAN, rf"(?:true|false){_ENDS}"),
    (Kind.UNDEFINED, rf"undefined{_ENDS}"),
    (Kind.NULL, rf"null{_ENDS}"),
    (Kind.NUMBER, rf"-?[0-9]+(?:\.[0-9]+)?{_ENDS}"),
    (Kind.OPEN_BLOCK_PARAMS, rf"as[{SPACE}]+\|"),
    (Kind.CLOSE_BLOCK_PARAMS, r"\|"),
    (Kind.ID, rf"{_WORD}(?=[=~}}{SPACE}/.)|]|\Z)|\[(?:\\\]|[^\]])*\]"),
    (Kind.INVALID, r"[\s\S]"),
]
_TAG = re.compile("|".join(f"({pattern})" for _, pattern in _RULES), re.ASCII)
_BLANKS = re.compile(rf"[{SPACE}]*")
_NEXT_TAG = re.compile(r"\\{0,2}\{\{")
_RAW_END = re.compile(rf"\{{\{{\{{\{{/({_WORD})\}}\}}\}}\}}")
_ENDING_A_TAG = frozenset((Kind.INVERSE, Kind.COMMENT, Kind.CLOSE, Kind.CLOSE_UNESCAPED))


def tokenize(source: Source) -> list[Token]:
    """All tokens, ending with EOF.

    Raises `TemplateError` for a NUL, for an unclosed comment or raw block, and if there are more than `MAX_TOKENS`.
    """
    tokens = list(itertools.islice(_Lexer(source).tokens(), MAX_TOKENS + 1))
    if len(tokens) > MAX_TOKENS:
        raise TemplateError(source.spot(tokens[-1].at), f"The template has more than {MAX_TOKENS:,} words and marks.")
    return tokens


class _Lexer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0

    def tokens(self) -> Iterator[Token]:
        if "\0" in self.text:
            raise TemplateError(self.source.spot(self.text.index("\0")), "There is a NUL character.")
        while self.at < len(self.text):
            yield from self.content()
            yield from self.tag()
        yield self.take(Kind.EOF, self.at)

    def take(self, kind: Kind, end: int) -> Token:
        token = Token(kind, self.text[self.at : end], self.at)
        self.at = end
        return token

    def content(self) -> Iterator[Token]:
        """Text up to the next tag. `\\{{` begins text instead of a tag; `\\\\{{` is a backslash and a tag."""
        while self.at < len(self.text):
            start, found = self.at, self.text.find("{{", self.at)
            token = self.take(Kind.CONTENT, len(self.text) if found < 0 else found)
            backslash = found >= 0 and token.text.endswith("\\")
            if text := token.text[:-1] if backslash else token.text:
                yield token._replace(text=text)
            if not backslash or self.text.endswith("\\\\", start, self.at):
                return
            following = _NEXT_TAG.search(self.text, self.at + 2)
            yield self.take(Kind.CONTENT, following.start() if following else len(self.text))

    def tag(self) -> Iterator[Token]:
        while self.at < len(self.text):
            self.at = self.end_of(_BLANKS)
            match = _TAG.match(self.text, self.at)
            if match is None:
                return  # only white space was left
            kind = _RULES[(match.lastindex or 0) - 1][0]
            if kind is Kind.OPEN and self.text.startswith("!", match.end()):
                raise TemplateError(self.source.spot(self.at), "This comment is never closed.")
            yield _unquoted(self.take(kind, match.end()))
            if kind is Kind.INVALID:  # the template is invalid: scanning on could take quadratic time
                self.at = len(self.text)
                return
            if kind is Kind.CLOSE_RAW_BLOCK:
                yield from self.raw()
            if kind in _ENDING_A_TAG or kind is Kind.CLOSE_RAW_BLOCK:
                return

    def end_of(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        return match.end() if match else self.at

    def raw(self) -> Iterator[Token]:
        """Text up to `{{{{/name}}}}`; nested raw blocks are text, but must be closed."""
        opened, nesting = self.at, 1
        while self.at < len(self.text):
            if end := _RAW_END.match(self.text, self.at):
                nesting -= 1
                token = self.take(Kind.CONTENT if nesting else Kind.END_RAW_BLOCK, end.end())
                if not nesting:
                    yield token._replace(text=end[1])
                    return
                yield token
            elif self.text.startswith("{{{{", self.at) and self.text[self.at + 4 : self.at + 5] not in ("", "/"):
                nesting += 1
                yield self.take(Kind.CONTENT, self.at + 4)
            else:
                found = self.text.find("{{{{", self.at + 1)
                if found < 0:
                    break
                yield self.take(Kind.CONTENT, found)
        raise TemplateError(
            self.source.spot(min(opened, len(self.text) - 1)), "Nothing closes the raw block that '}}}}' begins here."
        )


def _unquoted(token: Token) -> Token:
    if token.kind is Kind.STRING:
        quote = token.text[0]
        return token._replace(text=token.text[1:-1].replace("\\" + quote, quote))
    if token.kind is Kind.ID and token.text.startswith("["):
        return token._replace(text=re.sub(r"\\([\\\]])", r"\1", token.text))
    return token

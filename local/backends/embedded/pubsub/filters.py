"""Subscription filters: `attributes.x = "y" AND NOT hasPrefix(attributes.z, "w")`.

    filter  := term ("AND" term)* | term ("OR" term)*        AND and OR mix only with parentheses
    term    := ("NOT" | "-") term | "(" filter ")" | "hasPrefix" "(" key "," string ")"
             | key (("=" | "!=") string)? | "attributes" ":" name
    key     := "attributes" "." name                          name: an identifier or a quoted string

https://cloud.google.com/pubsub/docs/subscription-message-filter
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from local.backends.embedded.failure import invalid

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]

MAX_BYTES = 256

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z0-9_-]*)|(!=|[=:.,()-]))')


def compile_filter(text: str) -> Filter:
    """A predicate on a message's attributes; an empty filter matches everything.

    Raises INVALID_ARGUMENT if the text isn't a filter.
    """
    if not text.strip():
        return lambda _: True
    if len(text.encode()) > MAX_BYTES:
        raise invalid(f"A filter must have at most {MAX_BYTES} bytes.")
    parser = _Parser(text)
    result = parser.filter()
    if parser.peek() is not None:
        raise parser.error()
    return result


class _Parser:
    """Recursive descent over the tokens, one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._position = 0

    def peek(self) -> str | None:
        """The next token, or None at the end."""
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def error(self) -> Exception:
        """The error for a next token that is not allowed there."""
        return invalid(f"Invalid filter: {self._text!r} can't be read at {self.peek() or 'its end'!r}.")

    def filter(self) -> Filter:
        terms = [self._term()]
        word = self.peek()
        if word not in ("AND", "OR"):
            return terms[0]
        while self._accept(word):
            terms.append(self._term())
        combine = all if word == "AND" else any
        return lambda attributes: combine(term(attributes) for term in terms)

    def _term(self) -> Filter:
        if self._accept("NOT") or self._accept("-"):
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if self._accept("("):
            inner = self.filter()
            self._expect(")")
            return inner
        if self._accept("hasPrefix"):
            return self._has_prefix()
        return self._comparison()

    def _has_prefix(self) -> Filter:
        self._expect("(")
        self._expect("attributes")
        self._expect(".")
        name = self._name()
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        return lambda attributes: attributes.get(name, "").startswith(prefix) and name in attributes

    def _comparison(self) -> Filter:
        self._expect("attributes")
        if self._accept(":"):
            present = self._name()
            return lambda attributes: present in attributes
        self._expect(".")
        name = self._name()
        if self._accept("!="):
            other = self._string()
            return lambda attributes: attributes.get(name) != other
        self._expect("=")
        value = self._string()
        return lambda attributes: attributes.get(name) == value

    def _name(self) -> str:
        token = self.peek()
        if token is not None and (token[0].isalpha() or token[0] == "_"):
            self._position += 1
            return token
        return self._string()

    def _string(self) -> str:
        token = self.peek()
        if token is None or not token.startswith('"'):
            raise self.error()
        self._position += 1
        return str(json.loads(token))

    def _accept(self, token: str | None) -> bool:
        if token is None or self.peek() != token:
            return False
        self._position += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise self.error()


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise invalid(f"Invalid filter: {text!r} can't be read at {text[position:].strip()[:1]!r}.")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens

"""Parses tokens into the tree, by the grammar of handlebars.js 4.7 (`src/handlebars.yy`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sender.handlebars.errors import Spot, TemplateError
from sender.handlebars.lexer import Kind, Source, Token, tokenize
from sender.handlebars.nodes import (
    Block,
    Call,
    Comment,
    Content,
    Expression,
    Literal,
    Mustache,
    Partial,
    PartialBlock,
    Path,
    Program,
    Statement,
    Strip,
)
from sender.handlebars.values import UNDEFINED, number_of, string_of

#: The maximum nesting of blocks and subexpressions; each level uses Python's stack.
MAX_NESTING = 60

_ENDING_A_PROGRAM = frozenset((Kind.EOF, Kind.INVERSE, Kind.OPEN_INVERSE_CHAIN, Kind.OPEN_ENDBLOCK))
_BRACKETED = re.compile(r"\[([^\n\r\u2028\u2029]*)\]")


def parse(text: str, origin: str) -> Program:
    """Parse a template; white space control is not applied yet. Raises `TemplateError`."""
    return _Parser(Source(text, origin)).root()


class _Parser:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._next = 0
        self._nesting = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def spot(self, token: Token) -> Spot:
        return self._source.spot(token.at)

    def sees(self, *kinds: Kind) -> bool:
        return self.token.kind in kinds

    def take(self, *kinds: Kind) -> Token:
        token = self.token
        if token.kind not in kinds:
            raise self.unexpected(" or ".join(kinds))
        self._next += 1
        return token

    def unexpected(self, expected: str) -> TemplateError:
        return TemplateError(self.spot(self.token), f"Expected {expected}, found {self.token.kind}.")

    def deeper(self, token: Token) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise TemplateError(self.spot(token), f"More than {MAX_NESTING} levels are nested here.")

    def root(self) -> Program:
        program = self.program()
        if not self.sees(Kind.EOF):
            raise TemplateError(self.spot(self.token), f"{self.token.kind} stands outside of any block.")
        return program

    def program(self, block_params: tuple[str, ...] = ()) -> Program:
        spot, body = self.spot(self.token), []
        while not self.sees(*_ENDING_A_PROGRAM):
            body.append(self.statement())
        return Program(body, spot, block_params)

    def statement(self) -> Statement:
        match self.token.kind:
            case Kind.CONTENT:
                return self.content()
            case Kind.COMMENT:
                token = self.take(Kind.COMMENT)
                return Comment(_strip(token, token))
            case Kind.OPEN | Kind.OPEN_UNESCAPED:
                return self.mustache()
            case Kind.OPEN_BLOCK | Kind.OPEN_INVERSE:
                return self.block()
            case Kind.OPEN_RAW_BLOCK:
                return self.raw_block()
            case Kind.OPEN_PARTIAL:
                opened = self.take(Kind.OPEN_PARTIAL)
                return self.partial(opened)
            case Kind.OPEN_PARTIAL_BLOCK:
                return self.partial_block()
            case _:
                raise self.unexpected("text or a tag")

    def content(self) -> Content:
        text = self.take(Kind.CONTENT).text
        return Content(text, text)

    def mustache(self) -> Mustache:
        opened = self.take(Kind.OPEN, Kind.OPEN_UNESCAPED)
        call = self.call(opened)
        closed = self.take(Kind.CLOSE if opened.kind is Kind.OPEN else Kind.CLOSE_UNESCAPED)
        escaped = opened.kind is Kind.OPEN and not opened.text.endswith("&")
        return Mustache(call, escaped, "*" in opened.text, _strip(opened, closed))

    def call(self, opened: Token) -> Call:
        name = self.name()
        params, hash_ = self.arguments()
        return Call(name, params, hash_, self.spot(opened))

    def name(self) -> Path | Literal:
        token = self.token
        match token.kind:
            case Kind.ID | Kind.DATA:
                return self.path()
            case Kind.STRING:
                value: Any = token.text
            case Kind.NUMBER:
                value = number_of(token.text)
            case Kind.BOOLEAN:
                value = token.text == "true"
            case Kind.UNDEFINED:
                value = UNDEFINED
            case Kind.NULL:
                value = None
            case _:
                raise self.unexpected("a name or a value")
        self.take(token.kind)
        return Literal(value, self.spot(token))

    def path(self) -> Path:
        first, data = self.token, self.sees(Kind.DATA)
        if data:
            self.take(Kind.DATA)
        original, separator, depth = "@" if data else "", "", 0
        parts: list[str] = []
        while True:
            token = self.take(Kind.ID)
            part = _unbracketed(token.text)
            original += separator + part
            if part == token.text and part in ("..", ".", "this"):
                if parts:
                    raise TemplateError(
                        self.spot(first), f"'{original}' is no path: '{part}' can only be at its beginning."
                    )
                depth += part == ".."
            else:
                parts.append(part)
            if not self.sees(Kind.SEP):
                return Path(original, data, depth, tuple(parts), self.spot(first))
            separator = self.take(Kind.SEP).text

    def arguments(self) -> tuple[tuple[Expression, ...], Mapping[str, Expression]]:
        params: list[Expression] = []
        while not self.at_hash() and self.sees(
            Kind.OPEN_SEXPR, Kind.ID, Kind.DATA, Kind.STRING, Kind.NUMBER, Kind.BOOLEAN, Kind.UNDEFINED, Kind.NULL
        ):
            params.append(self.param())
        hash_ = {}
        while self.at_hash():
            key = _unbracketed(self.take(Kind.ID).text)
            self.take(Kind.EQUALS)
            hash_[key] = self.param()
        return tuple(params), hash_

    def at_hash(self) -> bool:
        return self.sees(Kind.ID) and self._tokens[self._next + 1].kind is Kind.EQUALS

    def param(self) -> Expression:
        if not self.sees(Kind.OPEN_SEXPR):
            return self.name()
        opened = self.take(Kind.OPEN_SEXPR)
        self.deeper(opened)
        call = self.call(opened)
        self.take(Kind.CLOSE_SEXPR)
        self._nesting -= 1
        return call

    def block_params(self) -> tuple[str, ...]:
        if not self.sees(Kind.OPEN_BLOCK_PARAMS):
            return ()
        self.take(Kind.OPEN_BLOCK_PARAMS)
        names = [_unbracketed(self.take(Kind.ID).text)]
        while self.sees(Kind.ID):
            names.append(_unbracketed(self.take(Kind.ID).text))
        self.take(Kind.CLOSE_BLOCK_PARAMS)
        return tuple(names)

    def block(self) -> Block:
        opened = self.take(Kind.OPEN_BLOCK, Kind.OPEN_INVERSE)
        self.deeper(opened)
        call = self.call(opened)
        program_params = self.block_params()
        open_strip = _strip(opened, self.take(Kind.CLOSE))
        program = self.program(program_params)
        inverted, decorator = opened.kind is Kind.OPEN_INVERSE, "*" in opened.text
        inverse, inverse_strip = None, Strip()
        if decorator and self.sees(Kind.INVERSE, Kind.OPEN_INVERSE_CHAIN):
            raise TemplateError(self.spot(self.token), "A '{{#*' block can't have an '{{else}}'.")
        if self.sees(Kind.INVERSE) or (self.sees(Kind.OPEN_INVERSE_CHAIN) and not inverted):
            inverse, inverse_strip = self.inverse()
        close_strip = self.close(opened, call.name)
        if inverse and inverse.chain:
            inverse.chain.close_strip = close_strip
        self._nesting -= 1
        first, second = (inverse, program) if inverted else (program, inverse)
        return Block(call, first, second, decorator, open_strip, inverse_strip, close_strip)

    def inverse(self) -> tuple[Program, Strip]:
        """The program after `{{else}}` or `{{else if}}`, up to the end of the block."""
        if self.sees(Kind.INVERSE):
            token = self.take(Kind.INVERSE)
            return self.program(), _strip(token, token)
        opened = self.take(Kind.OPEN_INVERSE_CHAIN)
        self.deeper(opened)
        call = self.call(opened)
        params = self.block_params()
        strip = _strip(opened, self.take(Kind.CLOSE))
        program = self.program(params)
        block = Block(call, program, None, False, strip, Strip(), Strip())
        if self.sees(Kind.INVERSE, Kind.OPEN_INVERSE_CHAIN):
            block.inverse, block.inverse_strip = self.inverse()
            if block.inverse.chain:
                block.inverse.chain.close_strip = block.inverse_strip
        self._nesting -= 1
        return Program([block], call.spot, chain=block), strip

    def close(self, opened: Token, name: Expression) -> Strip:
        if self.sees(Kind.EOF):
            raise TemplateError(self.spot(opened), f"'{_shown(opened, name)}' is never closed.")
        closing = self.take(Kind.OPEN_ENDBLOCK)
        found = self.name()
        if not _same(name, found):
            raise TemplateError(self.spot(closing), f"'{_shown(closing, found)}' can't close '{_shown(opened, name)}'.")
        return _strip(closing, self.take(Kind.CLOSE))

    def raw_block(self) -> Block:
        opened = self.take(Kind.OPEN_RAW_BLOCK)
        call = self.call(opened)
        self.take(Kind.CLOSE_RAW_BLOCK)
        spot, body = self.spot(self.token), []
        while self.sees(Kind.CONTENT):
            body.append(self.content())
        end = self.take(Kind.END_RAW_BLOCK)
        if _original(call.name) != end.text:
            raise TemplateError(self.spot(end), f"'{{{{{{{{/{end.text}}}}}}}}}' can't close this raw block.")
        return Block(call, Program([*body], spot), None, False, Strip(), Strip(), Strip())

    def partial(self, opened: Token) -> Partial:
        name = self.param()
        params, hash_ = self.arguments()
        if len(params) > 1:
            raise TemplateError(self.spot(opened), "A partial takes one context; name further values ('a=b').")
        return Partial(name, params, hash_, _strip(opened, self.take(Kind.CLOSE)), self.spot(opened))

    def partial_block(self) -> PartialBlock:
        opened = self.take(Kind.OPEN_PARTIAL_BLOCK)
        self.deeper(opened)
        partial = self.partial(opened)
        program = self.program()
        if self.sees(Kind.INVERSE, Kind.OPEN_INVERSE_CHAIN):
            raise self.unexpected(f"the end of '{_shown(opened, partial.name)}'")
        close_strip = self.close(opened, partial.name)
        self._nesting -= 1
        return PartialBlock(partial, program, partial.strip, close_strip)


def _strip(opened: Token, closed: Token) -> Strip:
    return Strip(opened.text[2:3] == "~", closed.text[-3:-2] == "~")


def _unbracketed(text: str) -> str:
    match = _BRACKETED.fullmatch(text)
    return match[1] if match else text


def _original(name: Expression) -> Any:
    """The value by which opening and closing tags are compared."""
    match name:
        case Path():
            return name.original
        case Literal():
            return name.value
        case _:
            return UNDEFINED  # as in handlebars.js, {{/undefined}} closes the block of a dynamic partial


def _same(opened: Expression, closed: Expression) -> bool:
    first, second = _original(opened), _original(closed)
    return type(first) is type(second) and bool(first == second)


def _shown(tag: Token, name: Expression) -> str:
    """The tag without its arguments, for error texts."""
    text = "(…)" if isinstance(name, Call) else string_of(_original(name))
    return f"{tag.text}{' ' if tag.text.endswith('>') else ''}{text}}}}}"

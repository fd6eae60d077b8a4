"""White space control: applies `~`, and removes the lines of standalone tags.

This is a second pass over the tree, as in handlebars.js 4.7 (`whitespace-control.js`), because it depends on a tag's
neighbours.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sender.handlebars.lexer import SPACE
from sender.handlebars.nodes import Block, Comment, Content, Partial, PartialBlock, Program, Statement, Strip

_REST_OF_LINE = re.compile(r"[ \t]*\r?\n?")


class _Tag(NamedTuple):
    """A statement's effect on the text around it.

    `standalone`: the statement may be removed with its line. `first_standalone` and `last_standalone`: the same for a
    block's first and last tag, judged by the block's content.
    """

    strip: Strip
    standalone: bool = False
    first_standalone: bool = False
    last_standalone: bool = False


def control_whitespace(root: Program) -> None:
    """Remove white space from the text in the tree, and set the indents of partials."""
    _control(root, is_root=True)


def _control(program: Program, *, is_root: bool = False) -> None:
    body = program.body
    for index, statement in enumerate(body):
        tag = _tag(statement)
        if tag is None:
            continue
        before = _ends_with_line(body, index, is_root)
        after = _starts_with_line(body, index, is_root)
        if tag.strip.close:
            _strip_right(body, index, everything=True)
        if tag.strip.open:
            _strip_left(body, index, everything=True)
        if tag.standalone and before and after:
            _strip_right(body, index)
            indent = _strip_left(body, index)
            if isinstance(statement, Partial):
                statement.indent = indent
        if isinstance(statement, Block | PartialBlock):
            if tag.first_standalone and before:
                _strip_right(statement.programs[0].body, -1)
                _strip_left(body, index)
            if tag.last_standalone and after:
                _strip_right(body, index)
                _strip_left(statement.programs[-1].body, len(statement.programs[-1].body))


def _tag(statement: Statement) -> _Tag | None:
    match statement:
        case Content():
            return None
        case Block() | PartialBlock():
            return _block(statement)
        case Comment() | Partial():
            return _Tag(statement.strip, standalone=True)
        case _:
            return _Tag(statement.strip)


def _block(block: Block | PartialBlock) -> _Tag:
    """Process the block's content, then the effect of the block's tags on it."""
    for inner in block.programs:
        _control(inner)
    program, *inverses = block.programs
    # In an {{else if}} chain, handlebars.js checks both ends of the first one's content.
    inverse = next((_content(each) for each in inverses), None)
    last = inverse or program
    tag = _Tag(
        Strip(block.open_strip.open, block.close_strip.close),
        first_standalone=_starts_with_line(program.body, -1),
        last_standalone=_ends_with_line(last.body, len(last.body)),
    )
    if block.open_strip.close:
        _strip_right(program.body, -1, everything=True)
    if inverse and isinstance(block, Block):
        _else(block, program, inverse)
    if block.close_strip.open:
        _strip_left(last.body, len(last.body), everything=True)
    return tag


def _content(inverse: Program) -> Program:
    return inverse.chain.programs[0] if inverse.chain else inverse


def _else(block: Block, program: Program, inverse: Program) -> None:
    if block.inverse_strip.open:
        _strip_left(program.body, len(program.body), everything=True)
    if block.inverse_strip.close:
        _strip_right(inverse.body, -1, everything=True)
    if _ends_with_line(program.body, len(program.body)) and _starts_with_line(inverse.body, -1):
        _strip_left(program.body, len(program.body))
        _strip_right(inverse.body, -1)


# Below, `index` is a statement's index in the body; -1 is the tag before the body, its length the tag after it.


def _ends_with_line(body: list[Statement], index: int, is_root: bool = False) -> bool:
    """Whether only blanks separate `index` from the preceding line break."""
    if index == 0:
        return is_root
    previous = body[index - 1]
    if not isinstance(previous, Content):
        return False
    text = previous.original
    blank = text[len(text.rstrip(SPACE)) :]
    return "\n" in blank or (is_root and index == 1 and blank == text)


def _starts_with_line(body: list[Statement], index: int, is_root: bool = False) -> bool:
    """Whether only blanks separate `index` from the following line break."""
    if index + 1 == len(body):
        return is_root
    following = body[index + 1]
    if not isinstance(following, Content):
        return False
    text = following.original
    blank = text[: len(text) - len(text.lstrip(SPACE))]
    return "\n" in blank or (is_root and index + 2 == len(body) and blank == text)


def _strip_right(body: list[Statement], index: int, *, everything: bool = False) -> None:
    """Remove the blank rest of the line, or all white space, after `index`."""
    content = body[index + 1] if index + 1 < len(body) else None
    if not isinstance(content, Content) or (content.right_stripped and not everything):
        return
    before = content.value
    content.value = before.lstrip(SPACE) if everything else _REST_OF_LINE.sub("", before, count=1)
    content.right_stripped = content.value != before


def _strip_left(body: list[Statement], index: int, *, everything: bool = False) -> str:
    """Remove and return the line's blanks, or all white space, before `index`."""
    content = body[index - 1] if index > 0 else None
    if not isinstance(content, Content) or (content.left_stripped and not everything):
        return ""
    before = content.value
    content.value = before.rstrip(SPACE if everything else " \t")
    content.left_stripped = content.value != before
    return before[len(content.value) :]

"""White space control: what a `~` takes away, and the lines of tags that stand alone on theirs.

A second pass over the tree, as in handlebars.js 4.7 (`whitespace-control.js`), since a tag's neighbours decide.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sender.handlebars.lexer import SPACE
from sender.handlebars.nodes import Block, Comment, Content, Partial, PartialBlock, Program, Statement, Strip

_REST_OF_LINE = re.compile(r"[ \t]*\r?\n?")


class _Tag(NamedTuple):
    """What a statement wants of its surroundings.

    `alone`: to be taken out with its line; `alone_first` and `alone_last`: the same for a block's first and last tag,
    as far as the block's inside allows.
    """

    strip: Strip
    alone: bool = False
    alone_first: bool = False
    alone_last: bool = False


def control_whitespace(root: Program) -> None:
    """Shorten the contents in the tree to what is to be printed, and note the partials' indents."""
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
        if tag.alone and before and after:
            _strip_right(body, index)
            indent = _strip_left(body, index)
            if isinstance(statement, Partial):
                statement.indent = indent
        if isinstance(statement, Block | PartialBlock):
            if tag.alone_first and before:
                _strip_right(statement.programs[0].body, -1)
                _strip_left(body, index)
            if tag.alone_last and after:
                _strip_right(body, index)
                _strip_left(statement.programs[-1].body, len(statement.programs[-1].body))


def _tag(statement: Statement) -> _Tag | None:
    match statement:
        case Content():
            return None
        case Block() | PartialBlock():
            return _block(statement)
        case Comment() | Partial():
            return _Tag(statement.strip, alone=True)
        case _:
            return _Tag(statement.strip)


def _block(block: Block | PartialBlock) -> _Tag:
    """The block's inside first, then what its tags do to it."""
    for inner in block.programs:
        _control(inner)
    program, *inverses = block.programs
    # Of an {{else if}} chain, handlebars.js looks at the first one's inside for both ends.
    inverse = next((_inside(each) for each in inverses), None)
    last = inverse or program
    tag = _Tag(
        Strip(block.open_strip.open, block.close_strip.close),
        alone_first=_starts_with_line(program.body, -1),
        alone_last=_ends_with_line(last.body, len(last.body)),
    )
    if block.open_strip.close:
        _strip_right(program.body, -1, everything=True)
    if inverse and isinstance(block, Block):
        _else(block, program, inverse)
    if block.close_strip.open:
        _strip_left(last.body, len(last.body), everything=True)
    return tag


def _inside(inverse: Program) -> Program:
    return inverse.chain.programs[0] if inverse.chain else inverse


def _else(block: Block, program: Program, inverse: Program) -> None:
    if block.inverse_strip.open:
        _strip_left(program.body, len(program.body), everything=True)
    if block.inverse_strip.close:
        _strip_right(inverse.body, -1, everything=True)
    if _ends_with_line(program.body, len(program.body)) and _starts_with_line(inverse.body, -1):
        _strip_left(program.body, len(program.body))
        _strip_right(inverse.body, -1)


# Below, `index` is a statement's place in the body; -1 is the tag before, its length the one after it.


def _ends_with_line(body: list[Statement], index: int, is_root: bool = False) -> bool:
    """Whether what stands before `index` is a line's end and at most blanks after it."""
    if index == 0:
        return is_root
    previous = body[index - 1]
    if not isinstance(previous, Content):
        return False
    text = previous.original
    blank = text[len(text.rstrip(SPACE)) :]
    return "\n" in blank or (is_root and index == 1 and blank == text)


def _starts_with_line(body: list[Statement], index: int, is_root: bool = False) -> bool:
    """Whether what stands after `index` is at most blanks and a line's end."""
    if index + 1 == len(body):
        return is_root
    following = body[index + 1]
    if not isinstance(following, Content):
        return False
    text = following.original
    blank = text[: len(text) - len(text.lstrip(SPACE))]
    return "\n" in blank or (is_root and index + 2 == len(body) and blank == text)


def _strip_right(body: list[Statement], index: int, *, everything: bool = False) -> None:
    """Take the rest of the line, or all white space, from what follows `index`."""
    content = body[index + 1] if index + 1 < len(body) else None
    if not isinstance(content, Content) or (content.right_stripped and not everything):
        return
    before = content.value
    content.value = before.lstrip(SPACE) if everything else _REST_OF_LINE.sub("", before, count=1)
    content.right_stripped = content.value != before


def _strip_left(body: list[Statement], index: int, *, everything: bool = False) -> str:
    """Take the line's blanks, or all white space, from what stands before `index`; returns what that was."""
    content = body[index - 1] if index > 0 else None
    if not isinstance(content, Content) or (content.left_stripped and not everything):
        return ""
    before = content.value
    content.value = before.rstrip(SPACE if everything else " \t")
    content.left_stripped = content.value != before
    return before[len(content.value) :]

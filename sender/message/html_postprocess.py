"""What an installation may want done to a rendered message: styles moved into the elements, and a text beside the page.

Needs the extra `html`, and imports it only then: `css-inline` for `INLINE_CSS`, `inscriptis` for `TEXT_FROM_HTML`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import NamedTuple

from sender.document.document import Message
from shared.errors import Misconfigured

#: Elements inside one another. The parsers below give up (libxml2 at 256) or overflow the stack (html5ever at some
#: thousands, which would end the process); a newsletter made of tables in tables has about 30.
_DEEPEST = 200

# Elements that have no end tag, and those that their next sibling ends: neither nest by themselves.
_CHILDLESS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_ENDED_BY_THE_NEXT = frozenset(
    ("p", "li", "dt", "dd", "option", "optgroup", "rt", "rp", "tr", "td", "th", "thead", "tbody", "tfoot")
)

_START = re.compile(r"<[a-z]", re.IGNORECASE)
_STYLE = re.compile(r"<style[\s>]", re.IGNORECASE)


class PostprocessedMessage(NamedTuple):
    """The message, and a sentence about each thing that could not be done to it."""

    message: Message
    warnings: tuple[str, ...] = ()


#: A message made better, before it is written.
HtmlPostprocess = Callable[[Message], PostprocessedMessage]


def unchanged(message: Message) -> PostprocessedMessage:
    """The message as it is."""
    return PostprocessedMessage(message)


def html_postprocessor(*, inline_css: bool, text_from_html: bool) -> HtmlPostprocess:
    """What does what the settings of those names ask for. Raises `Misconfigured` where the extra is not installed."""
    steps: list[Callable[[Message], Message]] = []
    try:
        if text_from_html:  # first, from the page as its author wrote it
            steps.append(_text_beside())
        if inline_css:
            steps.append(_styles_inlined())
    except ImportError as error:
        text = f"INLINE_CSS and TEXT_FROM_HTML need the package '{error.name}', which the extra 'html' installs"
        raise Misconfigured(text) from error
    return _in_turn(steps) if steps else unchanged


def _in_turn(steps: Sequence[Callable[[Message], Message]]) -> HtmlPostprocess:
    def take(message: Message) -> PostprocessedMessage:
        if message.html and nesting(message.html) > _DEEPEST:
            text = f"Field 'html' has more than {_DEEPEST} elements inside one another and was sent as it is."
            return PostprocessedMessage(message, (text,))
        for step in steps:
            message = step(message)
        return PostprocessedMessage(message)

    return take


def _text_beside() -> Callable[[Message], Message]:
    """A text for those who don't see the page, where the mail has none; links stay readable."""
    from inscriptis import get_text
    from inscriptis.model.config import ParserConfig

    config = ParserConfig(display_links=True)

    def step(message: Message) -> Message:
        if not message.html or message.text:
            return message
        text = get_text(message.html, config).strip("\n")
        return replace(message, text=text) if text.strip() else message

    return step


def _styles_inlined() -> Callable[[Message], Message]:
    """The page's rules in its elements' `style`, because some mail programs read nothing else.

    The `<style>` stays too: media queries can't stand elsewhere. Style sheets from elsewhere are never fetched.
    """
    from css_inline import CSSInliner

    inliner = CSSInliner(keep_style_tags=True, keep_link_tags=True, load_remote_stylesheets=False)

    def step(message: Message) -> Message:
        if not message.html or not _STYLE.search(message.html):
            return message  # nothing to move, so every byte may stay where it is
        return replace(message, html=inliner.inline(message.html))

    return step


class _Nesting(HTMLParser):
    """Counts elements that are open at once. Each end tag ends one of its name, so that bad nesting counts high."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.deepest = 0
        self._open: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Called by the parser, for `<br/>` too."""
        if tag not in _CHILDLESS and tag not in _ENDED_BY_THE_NEXT:
            self._open[tag] += 1
            self.deepest = max(self.deepest, self._open.total())

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if self._open[tag] > 0:
            self._open[tag] -= 1


def nesting(html: str) -> int:
    """How many elements are inside one another, where that is most; or more, where the page ends within a tag.

    `close` would look at that rest again for each `<` in it. A browser finds no elements in it; to be on the safe
    side, each that might be one counts.
    """
    parser = _Nesting()
    parser.feed(html)
    return parser.deepest + len(_START.findall(parser.rawdata))

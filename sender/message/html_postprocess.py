"""Optional changes to a rendered message: inline CSS, and a text version generated from the HTML.

`INLINE_CSS` uses `css-inline` and `TEXT_FROM_HTML` uses `inscriptis`, both from the extra `html` and imported only if
needed.
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

#: The maximum nesting of elements. Deeper pages make libxml2 fail (at 256), or overflow the stack in html5ever (at some
#: thousands), which would kill the process. A newsletter with tables inside tables has about 30 levels.
_MAX_NESTING = 200

# Elements without an end tag, and elements that their next sibling ends: neither can nest by themselves.
_CHILDLESS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_ENDED_BY_THE_NEXT = frozenset(
    ("p", "li", "dt", "dd", "option", "optgroup", "rt", "rp", "tr", "td", "th", "thead", "tbody", "tfoot")
)

_START = re.compile(r"<[a-z]", re.IGNORECASE)
_STYLE = re.compile(r"<style[\s>]", re.IGNORECASE)


class PostprocessedMessage(NamedTuple):
    """The message, and a sentence about each change that was not possible."""

    message: Message
    warnings: tuple[str, ...] = ()


#: Changes a message before it is encoded.
HtmlPostprocess = Callable[[Message], PostprocessedMessage]


def unchanged(message: Message) -> PostprocessedMessage:
    """Return the message without changes."""
    return PostprocessedMessage(message)


def html_postprocessor(*, inline_css: bool, text_from_html: bool) -> HtmlPostprocess:
    """The changes enabled by the settings of these names. Raises `Misconfigured` if the extra is not installed."""
    steps: list[Callable[[Message], Message]] = []
    try:
        if text_from_html:  # first, from the unchanged page
            steps.append(_text_generator())
        if inline_css:
            steps.append(_css_inliner())
    except ImportError as error:
        text = f"INLINE_CSS and TEXT_FROM_HTML need the package '{error.name}', which the extra 'html' installs"
        raise Misconfigured(text) from error
    return _sequence(steps) if steps else unchanged


def _sequence(steps: Sequence[Callable[[Message], Message]]) -> HtmlPostprocess:
    def postprocess(message: Message) -> PostprocessedMessage:
        if message.html and nesting(message.html) > _MAX_NESTING:
            text = f"Field 'html' has more than {_MAX_NESTING} elements inside one another and was sent as it is."
            return PostprocessedMessage(message, (text,))
        for step in steps:
            message = step(message)
        return PostprocessedMessage(message)

    return postprocess


def _text_generator() -> Callable[[Message], Message]:
    """A step that adds a text version, with link targets, to a mail that has only HTML."""
    from inscriptis import get_text
    from inscriptis.model.config import ParserConfig

    config = ParserConfig(display_links=True)

    def step(message: Message) -> Message:
        if not message.html or message.text:
            return message
        text = get_text(message.html, config).strip("\n")
        return replace(message, text=text) if text.strip() else message

    return step


def _css_inliner() -> Callable[[Message], Message]:
    """A step that copies the page's CSS into `style` attributes, because some mail clients ignore `<style>`.

    The `<style>` elements are kept for their media queries. External style sheets are never fetched.
    """
    from css_inline import CSSInliner

    inliner = CSSInliner(keep_style_tags=True, keep_link_tags=True, load_remote_stylesheets=False)

    def step(message: Message) -> Message:
        if not message.html or not _STYLE.search(message.html):
            return message  # without styles, the page stays byte for byte the same
        return replace(message, html=inliner.inline(message.html))

    return step


class _Nesting(HTMLParser):
    """Counts open elements. An end tag closes one element of its name, so bad nesting is overestimated."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.deepest = 0
        self._open: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Called by the parser, also for `<br/>`."""
        if tag not in _CHILDLESS and tag not in _ENDED_BY_THE_NEXT:
            self._open[tag] += 1
            self.deepest = max(self.deepest, self._open.total())

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Called by the parser for `<![`, whose own method raises an error for any section that XML doesn't know."""
        return self.parse_bogus_comment(i, report)  # as browsers do

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if self._open[tag] > 0:
            self._open[tag] -= 1


def nesting(html: str) -> int:
    """The maximum nesting of elements; an upper bound if the page ends within a tag.

    Each possible tag in an unfinished rest counts, although a browser finds no element there: `HTMLParser.close` would
    take quadratic time to parse it.
    """
    parser = _Nesting()
    parser.feed(html)
    return parser.deepest + len(_START.findall(parser.rawdata))

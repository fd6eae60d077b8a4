"""Optional changes to a rendered page: inline CSS, and a text version generated from the HTML.

`INLINE_CSS` uses `css-inline` and `TEXT_FROM_HTML` uses `inscriptis`, both from the extra `html` and imported only if
needed, in the process of `sender.message.html_process`.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from typing import Any

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


def postprocess_page(html: str, *, has_text: bool, inline_css: bool, text_from_html: bool) -> dict[str, str]:
    """The changed `html` and the generated `text`, as far as there are any; or a `warning` that the page is as it was.

    The warning continues a sentence about the page. Text is generated from the unchanged page.
    """
    if nesting(html) > _MAX_NESTING:
        return {"warning": f"has more than {_MAX_NESTING} elements inside one another"}
    changes = {}
    if text_from_html and not has_text and (text := _text_of(html)):
        changes["text"] = text
    if inline_css and _STYLE.search(html):  # without styles, the page stays byte for byte the same
        changes["html"] = _inliner().inline(html)
    return changes


def _text_of(html: str) -> str:
    """The page as text with link targets; empty if there is nothing to read."""
    from inscriptis import get_text
    from inscriptis.model.config import ParserConfig

    text: str = get_text(html, ParserConfig(display_links=True)).strip("\n")
    return text if text.strip() else ""


@cache
def _inliner() -> Any:
    """Copies the page's CSS into `style` attributes, because some mail clients ignore `<style>`.

    The `<style>` elements are kept for their media queries. External style sheets are never fetched.
    """
    from css_inline import CSSInliner

    return CSSInliner(keep_style_tags=True, keep_link_tags=True, load_remote_stylesheets=False)


class _Nesting(HTMLParser):
    """Counts open elements. An end tag closes one element of its name, so bad nesting is overestimated."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.deepest = 0
        self._depth = 0
        self._open: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Called by the parser, also for `<br/>`."""
        if tag not in _CHILDLESS and tag not in _ENDED_BY_THE_NEXT:
            self._open[tag] += 1
            self._depth += 1
            self.deepest = max(self.deepest, self._depth)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Called by the parser for `<![`, whose own method raises an error for any section that XML doesn't know."""
        return self.parse_bogus_comment(i, report)  # as browsers do

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if self._open[tag] > 0:
            self._open[tag] -= 1
            self._depth -= 1


def nesting(html: str) -> int:
    """The maximum nesting of elements; an upper bound if the page ends within a tag.

    Each possible tag in an unfinished rest counts, although a browser finds no element there: `HTMLParser.close` would
    take quadratic time to parse it.
    """
    parser = _Nesting()
    parser.feed(html)
    return parser.deepest + len(_START.findall(parser.rawdata))

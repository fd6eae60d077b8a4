"""Finds characters that nobody sees: they are copied along with an address or an id, and nothing then matches it.

They are Unicode's Default_Ignorable_Code_Point (https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt),
the marks of interlinear annotations, and the empty Braille pattern.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
#: Change the look of the character before them: variation selectors (Mongolian ones included), and the tags in flags.
_MODIFIERS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef]")
#: Change the look of the characters on both sides (RFC 5892 appendix A), as in Persian words and in emoji.
_JOINERS = "\u200c\u200d"
#: Letters without case, marks, symbols: the kinds of characters that modifiers and joiners are made for.
_MODIFIED = frozenset(("Lo", "Mc", "Mn", "Sk", "So"))


def stripped(text: str) -> str:
    """The text without white space and invisible characters at its ends."""
    text = text.strip()
    if text.isascii() or not any(map(_INVISIBLE.match, (text[:1], text[-1:]))):
        return text
    unseen = set(_unseen(text))
    start, end = 0, len(text)
    while start < end and (start in unseen or text[start].isspace()):
        start += 1
    while end > start and (end - 1 in unseen or text[end - 1].isspace()):
        end -= 1
    return text[start:end]


def invisible_in(text: str) -> str | None:
    """The first invisible character, as "an invisible character (U+200B)"; None if there is none.

    One that changes how its neighbours look does not count: a joiner in a Persian word, a selector after an emoji.
    """
    at = None if text.isascii() else next(_unseen(text), None)
    return None if at is None else f"an invisible character (U+{ord(text[at]):04X})"


def _unseen(text: str) -> Iterator[int]:
    """The positions of the invisible characters without an effect on their neighbours."""
    changed = -1  # the position of the last one with an effect: several may follow each other
    for found in _INVISIBLE.finditer(text):
        at = found.start()
        follows = changed >= 0 and changed == at - 1
        if _MODIFIERS.match(found[0]):
            has_effect = follows or _is_modified(text, at - 1)
        else:
            has_effect = found[0] in _JOINERS and (follows or _is_modified(text, at - 1)) and _is_modified(text, at + 1)
        if has_effect:
            changed = at
        else:
            yield at


def _is_modified(text: str, at: int) -> bool:
    """Whether the character there is of a kind that modifiers and joiners are made for."""
    if not 0 <= at < len(text) or _INVISIBLE.match(text[at]):
        return False
    return not text[at].isascii() and unicodedata.category(text[at]) in _MODIFIED

"""Finds misspelt field names: unknown ones that differ so little from an absent field that they are meant to be it.

Applications keep their own data in documents, so a hint must be worth more than the noise. Short names are compared
without case and separators only, because `too` or `test` is a word of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: The fields that Firepost reads, by the map that they are in.
DOCUMENT: Final = (
    *("to", "cc", "bcc", "toUids", "ccUids", "bccUids", "from", "replyTo", "headers", "message", "template"),
    *("sendAt", "expiresAt", "transport", "lane", "listUnsubscribe", "sendGrid", "categories"),
)
MESSAGE: Final = (
    *("subject", "text", "html", "amp", "messageId", "attachments", "alternatives", "icalEvent", "headers"),
    *("inReplyTo", "references", "priority", "list", "date", "dsn"),
)
TEMPLATE: Final = ("name", "data")
ATTACHMENT: Final = (
    *("filename", "content", "path", "href", "httpHeaders", "contentType", "contentDisposition", "cid", "encoding"),
    *("headers", "raw", "bucket", "object", "generation"),
)
CALENDAR_EVENT: Final = (*ATTACHMENT, "method")
_ALL = frozenset((*DOCUMENT, *MESSAGE, *TEMPLATE, *CALENDAR_EVENT, "delivery"))

#: Each of these says where an attachment's content is, so one of them is enough.
_SOURCES: Final = frozenset(("content", "path", "href", "raw", "bucket", "object"))

#: The number of unknown fields of one map that are compared, and the length of a name that may be misspelt.
MAX_UNKNOWN, MAX_NAME = 20, 40
#: The number of letters from which a word may lack one, may differ by one edit, and may differ by two.
_SHORTEST, _ONE_EDIT, _TWO_EDITS = 4, 5, 10
#: English words, and names that applications use, one edit away from one of these fields.
_OTHER_WORDS = frozenset(("form", "context", "contest", "consent", "massage", "expireat"))
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_]")
_SEPARATORS = re.compile(r"[\W_]+")


def misspelt(values: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The pairs of an unknown name in `values`, and the one of the `known` names that it probably stands for.

    Only names of up to `MAX_NAME` characters are returned, and none that is a field of another map: it is misplaced.
    """
    given = {name for name in known if values.get(name) is not None}
    if given & _SOURCES:
        given |= _SOURCES
    absent = [name for name in known if name not in given]
    unknown = (name for name, value in values.items() if name not in _ALL and value is not None)
    for name, _ in zip(unknown, range(MAX_UNKNOWN), strict=False):
        if len(name) <= MAX_NAME and _plain(name) not in _OTHER_WORDS:
            meant = next((each for each in absent if _plain(each) == _plain(name)), None)
            meant = meant or next((each for each in absent if _is_close(name, each)), None)
            if meant:
                yield name, meant


def _plain(name: str) -> str:
    """The name without case and separators: `reply_to` is `replyto`."""
    return _SEPARATORS.sub("", name).lower()


def _is_close(name: str, known: str) -> bool:
    """Whether each word of the name is one of the known name with a slip of the keyboard: `replyTo` has two words."""
    words, known_words = _words(name), _words(known)
    if len(words) != len(known_words):  # a capital or a separator was forgotten: `seperateWords`, `separatewords`
        return len(known_words) > 1 and _is_slip(_plain(name), _plain(known))
    return all(_is_slip(*pair) for pair in zip(words, known_words, strict=True))


@functools.lru_cache(maxsize=256)
def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _is_slip(word: str, known: str) -> bool:
    """Whether the word is the known one but for letters left out, added, replaced or swapped: one, of a long word two.

    The first letter is right: people rarely get that one wrong, and `end` is not `send`.
    """
    if word == known:
        return True
    if len(known) < _SHORTEST or word[:1] != known[:1]:
        return False
    if len(known) < _ONE_EDIT and len(word) > len(known):
        return False
    return _differs_by(word, known, 2 if len(known) >= _TWO_EDITS else 1, replaces=len(known) >= _ONE_EDIT)


def _differs_by(one: str, other: str, edits: int, replaces: bool) -> bool:
    """Whether at most so many edits make one word of the other (Damerau-Levenshtein distance)."""
    same = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    same = min(len(one), len(other)) if same is None else same
    one, other = one[same:], other[same:]
    if not edits or not (one and other):
        return max(len(one), len(other)) <= edits
    candidates = [(one[1:], other), (one, other[1:])]
    if replaces:
        candidates.append((one[1:], other[1:]))
    if one[:2] == other[1::-1]:
        candidates.append((one[2:], other[2:]))
    return any(_differs_by(*pair, edits - 1, replaces) for pair in candidates)

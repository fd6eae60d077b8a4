"""Writes header fields: encodes, folds, and prevents header injection.

Each public function returns one field without its final line end. All raise `ValueError` for a line break, a NUL or a
line of more than 998 bytes. Documents have been validated before, so this is the last line of defence against a bug in
the caller.
"""

from __future__ import annotations

import binascii
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from sender.document.addresses import Address, Group

#: Lines are folded at this width if white space permits (RFC 5322 section 2.1.1).
FOLD_AT = 78
#: The longest line, in bytes (same section).
MAX_LINE = 998

# RFC 2047: an encoded word has at most 75 characters, 12 of which are `=?utf-8?q?` and `?=`; a line with one has 76.
_WORD, _WORD_FRAME, _WORD_LINE = 75, 12, 76
_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_Q_AS_ONE = _Q_SAFE + b" "
_Q = {byte: chr(byte) if byte in _Q_SAFE else f"={byte:02X}" for byte in range(256)} | {0x20: "_"}

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_BREAKS = re.compile(r"[\r\n\0]")
_CHUNK = re.compile(r"[ \t]*[^ \t]+")
#: Printable ASCII without white space at the ends, which parsers would strip.
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_PERCENT_ENCODED = re.compile(r"[^%]|%[0-7].|%[C-F].(?:%[89AB].)+")  # one character each
_LONGEST_QUOTED = 56  # with ` filename*10*=utf-8'';` around it, it fills a line


def raw(name: str, value: str) -> str:
    """A field with an unencoded value (ids, dates, URLs, parameters), folded at its white space."""
    return _fold(name, _chunks(" " + value))


def unstructured(name: str, text: str) -> str:
    """A free-text field such as the subject; any character except line breaks and NUL survives a round trip.

    Text other than plain ASCII with short words is encoded as a whole (RFC 2047), because some clients lose white space
    between encoded and plain words.
    """
    _refuse_breaks(text)
    if _PLAIN.fullmatch(text) and "=?" not in text and max(map(len, _chunks(" " + text))) < FOLD_AT - len(name) - 1:
        return raw(name, text)
    return _fold(name, [" " + word for word in encoded_words(text, len(name) + 2)])


def user_defined(name: str, value: str) -> str:
    """An application's own field: words in ASCII (URLs, ids, JSON) are kept, others are encoded."""
    if value.isascii():
        return raw(name, value)
    _refuse_breaks(value)
    chunks: list[str] = []
    for ascii_, run in itertools.groupby(_chunks(" " + value), str.isascii):
        if ascii_:
            chunks += run
        else:
            used = 1 if chunks else len(name) + 2
            chunks += [" " + word for word in encoded_words("".join(run).lstrip(" \t"), used)]
    return _fold(name, chunks)


def address_list(name: str, entries: Sequence[Address | Group]) -> str:
    """An address field (RFC 5322 section 3.4), folded between addresses and between words of a name."""
    chunks: list[str] = []
    for index, entry in enumerate(entries):
        chunks += _group(entry) if isinstance(entry, Group) else _mailbox(entry)
        if index < len(entries) - 1:
            chunks[-1] += ","
    return _fold(name, chunks)


def with_filename(name: str, value: str, filename: str) -> str:
    """A field with a `filename` parameter, `Content-Disposition: attachment; filename="a.pdf"`.

    A name that doesn't fit into a short quoted string is encoded by RFC 2231, without an ASCII fallback, which some
    modern clients would prefer. Old clients use the parameter from `with_name`.
    """
    _refuse_breaks(filename)
    if len(filename) <= _LONGEST_QUOTED and _PLAIN.fullmatch(filename):
        return _fold(name, [f" {value};", f" filename={_quoted(filename)}"])
    return raw(name, "; ".join([value, *_extended("filename", filename)]))


def with_name(name: str, value: str, filename: str) -> str:
    """A field with a `name` parameter, `Content-Type: text/plain; name="a.txt"`, for clients without RFC 2231.

    They decode encoded words in the quoted string, although RFC 2047 doesn't allow these.
    """
    _refuse_breaks(filename)
    chunks = _chunks(f" {value};")
    if len(filename) <= _LONGEST_QUOTED and _PLAIN.fullmatch(filename) and "=?" not in filename:
        return _fold(name, [*chunks, f" name={_quoted(filename)}"])
    first, *others = encoded_words(filename, len(' name="'))
    chunks += [f' name="{first}', *(f" {word}" for word in others)]
    chunks[-1] += '"'
    return _fold(name, chunks)


def encoded_words(text: str, used: int = 1) -> Iterator[str]:
    """The text as RFC 2047 encoded words, Q or B, whichever is shorter; no character is split between words.

    `used` is the number of characters already on the first line. Lone surrogates become question marks.
    """
    data = text.encode("utf-8", "replace")
    size_in_b, size_in_q = 4 * ((len(data) + 2) // 3), _q_size(data)
    in_b = size_in_b < size_in_q
    encode, frame = (_b, "=?utf-8?b?{}?=") if in_b else (_q, "=?utf-8?q?{}?=")
    room = max(_WORD_LINE - used, _WORD // 2) - _WORD_FRAME
    if min(size_in_b, size_in_q) <= room:  # the usual case, which needs no loop over characters
        yield frame.format(encode(data))
        return
    start = end = size = 0
    for character in data.decode():
        piece = character.encode()
        width = len(piece) if in_b else _q_size(piece)
        if size + width > (room // 4 * 3 if in_b else room):
            yield frame.format(encode(data[start:end]))
            start, size, room = end, 0, _WORD - _WORD_FRAME
        end += len(piece)
        size += width
    yield frame.format(encode(data[start:]))


def _b(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _q_size(data: bytes) -> int:
    return len(data) + 2 * len(data.translate(None, delete=_Q_AS_ONE))


def _q(data: bytes) -> str:
    return "".join(map(_Q.__getitem__, data))


def _chunks(text: str) -> list[str]:
    """The words, each with the white space before it; trailing white space is dropped."""
    return _CHUNK.findall(text.rstrip(" \t"))  # stripped, so that a word follows all white space: linear time


def _fold(name: str, chunks: Iterable[str]) -> str:
    """Fold a field; each chunk starts with white space, before which a line may be broken."""
    line, lines = f"{name}:", []
    for index, chunk in enumerate(chunks):
        if index and len(line) + len(chunk) > FOLD_AT:
            lines.append(line)
            line = chunk
        else:
            line += chunk
    lines.append(line)
    _refuse_breaks("".join(lines))
    if not _FIELD_NAME.fullmatch(name) or max(map(len, map(str.encode, lines))) > MAX_LINE:
        raise ValueError("not a header name, or a header line beyond 998 bytes")
    return "\r\n".join(lines)


def _refuse_breaks(text: str) -> None:
    if _BREAKS.search(text):
        raise ValueError("a line break or NUL in a header")


def _mailbox(address: Address) -> list[str]:
    if not address.name:
        return [f" {address.email}"]
    return [*_phrase(address.name), f" <{address.email}>"]


def _group(group: Group) -> list[str]:
    chunks = _phrase(group.name) if group.name else [' ""']
    chunks[-1] += ":"
    for member in group.members:
        chunks += _mailbox(member)
        chunks[-1] += ","
    chunks[-1] = chunks[-1].removesuffix(",") + ";"
    return chunks


def _phrase(name: str) -> list[str]:
    """A display name in the simplest possible form: atoms, a quoted string or encoded words."""
    _refuse_breaks(name)
    if len(name) > _LONGEST_QUOTED or "=?" in name or not _PLAIN.fullmatch(name):
        return [" " + word for word in encoded_words(name)]
    if _ATOMS.fullmatch(name):
        return [" " + word for word in name.split(" ")]
    return [" " + _quoted(name)]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _extended(name: str, value: str) -> Iterator[str]:
    """A percent-encoded UTF-8 parameter (RFC 2231); a long one is split between characters into numbered sections."""
    encoded = quote(value.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    if len(encoded) <= _LONGEST_QUOTED:
        yield f"{name}*=utf-8''{encoded}"
        return
    pieces = [""]
    for character in _PERCENT_ENCODED.findall(encoded):
        if len(pieces[-1]) + len(character) > _LONGEST_QUOTED:
            pieces.append("")
        pieces[-1] += character
    for number, piece in enumerate(pieces):
        charset = "" if number else "utf-8''"
        yield f"{name}*{number}*={charset}{piece}"

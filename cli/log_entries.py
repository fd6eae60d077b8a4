"""Reads log entries from text: the services' own lines, or the output of `gcloud logging read --format=json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

#: Characters that are read at a time.
_CHUNK: Final = 64 * 1024
#: Characters of the largest entry: Cloud Logging's limit is 256 KB (https://cloud.google.com/logging/quotas).
_LARGEST: Final = 1024 * 1024
#: What stands between the objects of an array or of lines.
_BETWEEN: Final = re.compile(r"[\s,\[\]]*")


def entries(text: TextIO) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of the text, in lines, in an array, or one after another. Other lines are skipped.

    It holds no more of the text than the largest entry.
    """
    decoder, buffer, at = json.JSONDecoder(), "", 0
    while True:
        chunk = text.read(_CHUNK)
        buffer, at = buffer[at:] + chunk, 0
        while (at := _after(_BETWEEN, buffer, at)) < len(buffer):
            if buffer[at] == "{":
                try:
                    entry, at = decoder.raw_decode(buffer, at)
                except (ValueError, RecursionError):
                    if chunk and len(buffer) - at < _LARGEST:  # perhaps the rest is still to come
                        break
                else:
                    yield entry
                    continue
            at = buffer.find("\n", at) + 1 or len(buffer)
        if not chunk:
            return


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at

"""Media types by file name, and the other way round: the same on every machine."""

from __future__ import annotations

import functools
import mimetypes
import posixpath

UNKNOWN = "application/octet-stream"

# What mails carry and Python's own table lacks, or has only in some versions.
_MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".ics": "text/calendar",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".p7s": "application/pkcs7-signature",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@functools.cache
def _types() -> mimetypes.MimeTypes:
    """Python's built-in table with our additions; what the machine's own files say is left out."""
    table = mimetypes.MimeTypes(filenames=())
    for extension, media_type in _MORE_TYPES.items():
        table.add_type(media_type, extension)
    return table


def guess_type(filename: str, default: str) -> str:
    """The media type that goes with the name's extension."""
    extension = posixpath.splitext(filename)[1].lower()
    return _types().types_map[True].get(extension, default)


def guess_extension(media_type: str) -> str:
    """The extension, with its dot, that goes with a media type; parameters don't matter."""
    return _types().guess_extension(media_type.partition(";")[0].strip()) or ".bin"

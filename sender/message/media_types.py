"""Media types by file name, and the other way round: the same on every machine."""

from __future__ import annotations

import functools
import mimetypes
import posixpath

UNKNOWN = "application/octet-stream"

# What mails carry and Python's own table lacks, has only in some versions, or has otherwise than nodemailer's (`.xml`).
_MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".apk": "application/vnd.android.package-archive",
    ".bz2": "application/x-bzip2",
    ".cer": "application/pkix-cert",
    ".crt": "application/pkix-cert",
    ".docm": "application/vnd.ms-word.document.macroenabled.12",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".dotx": "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ".epub": "application/epub+zip",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".ics": "text/calendar",
    ".jar": "application/java-archive",
    ".kml": "application/vnd.google-earth.kml+xml",
    ".kmz": "application/vnd.google-earth.kmz",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".md": "text/markdown",
    ".msg": "application/vnd.ms-outlook",
    ".odg": "application/vnd.oasis.opendocument.graphics",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".oga": "audio/ogg",
    ".ogv": "video/ogg",
    ".p7m": "application/pkcs7-mime",
    ".p7s": "application/pkcs7-signature",
    ".potx": "application/vnd.openxmlformats-officedocument.presentationml.template",
    ".pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".vsd": "application/vnd.visio",
    ".webp": "image/webp",
    ".wmv": "video/x-ms-wmv",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xltx": "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    ".xml": "application/xml",
}
# Where the table has no extension for a type that is in use, or another one first.
_EXTENSIONS = {
    "application/x-zip-compressed": ".zip",
    "application/xml": ".xml",
    "audio/wav": ".wav",
    "text/javascript": ".js",
    "text/rtf": ".rtf",
    "text/vcard": ".vcf",
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
    extension = posixpath.splitext(filename.strip())[1].lower()
    return _types().types_map[True].get(extension, default)


def guess_extension(media_type: str) -> str:
    """The extension, with its dot, that goes with a media type; parameters don't matter."""
    bare = media_type.partition(";")[0].strip().lower()
    return _EXTENSIONS.get(bare) or _types().guess_extension(bare) or ".bin"

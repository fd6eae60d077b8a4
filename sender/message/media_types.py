"""Media types by file name and vice versa, independent of the machine's configuration."""

from __future__ import annotations

import functools
import mimetypes
import posixpath

UNKNOWN = "application/octet-stream"

# Common attachments that are missing from Python's table or from some versions of it, or differ in nodemailer (`.xml`).
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
# Types for which the table has no extension, or prefers an unusual one.
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
    """Python's built-in table with our additions, without the machine's own files."""
    table = mimetypes.MimeTypes(filenames=())
    for extension, media_type in _MORE_TYPES.items():
        table.add_type(media_type, extension)
    return table


def guess_type(filename: str, default: str) -> str:
    """The media type for the name's extension, or the default if it is unknown."""
    extension = posixpath.splitext(filename.strip())[1].lower()
    return _types().types_map[True].get(extension, default)


def guess_extension(media_type: str) -> str:
    """The extension, with its dot, for a media type; its parameters are ignored. `.bin` if unknown."""
    bare = media_type.partition(";")[0].strip().lower()
    return _EXTENSIONS.get(bare) or _types().guess_extension(bare) or ".bin"

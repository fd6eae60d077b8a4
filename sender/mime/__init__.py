"""A small writer of Internet mail: header fields (headers.py) and MIME entities (parts.py).

Python's `email` package needs 2.8 ms for a text-and-html mail because it parses and refolds every header, and it turns
long URLs in List-Unsubscribe into encoded words, which breaks one-click unsubscribing. This writer does what mail
needs and no more, in about 0.1 ms; the tests read its output back with the `email` package.
"""

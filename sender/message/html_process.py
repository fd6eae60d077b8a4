"""Runs the post-processing of pages in a process of its own, which may be killed.

The libraries are native code that holds Python's lock, and can't be interrupted: a page of 100 KB whose style sheet
fits every element takes a second, one of 900 KB more than a minute. In another process, such a page delays no other
mail but those that need the same; it is stopped when its time is up, and takes neither the sender's memory nor, if it
makes the library crash, its life.

The process starts with the first page, serves one at a time, and ends when its input does, so also if the sender is
killed. Both directions carry JSON texts in UTF-8, each after its length in bytes (4 bytes, big-endian).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sender.document.document import Message
from shared.deadline import Deadline
from shared.errors import Misconfigured

#: The time limit for one page, in seconds; a newsletter of 100 KB takes a tenth of a second.
PAGE_SECONDS = 1.5
#: The time limit for the start of the process, which imports the libraries.
START_SECONDS = 20.0
#: The longest that a page waits for others, in seconds.
_LONGEST_QUEUE_SECONDS = 15.0

_ROOT = Path(__file__).parents[2]
_LIBRARIES = {"inline_css": "css_inline", "text_from_html": "inscriptis"}


class PostprocessedMessage(NamedTuple):
    """The message, and a sentence about each change that was not possible."""

    message: Message
    warnings: tuple[str, ...] = ()


#: Changes a message before it is encoded, before the deadline.
HtmlPostprocess = Callable[[Message, Deadline], PostprocessedMessage]


def unchanged(message: Message, deadline: Deadline) -> PostprocessedMessage:
    """Return the message without changes."""
    return PostprocessedMessage(message)


def html_postprocessor(*, inline_css: bool, text_from_html: bool) -> HtmlPostprocess:
    """The changes enabled by the settings of these names. Raises `Misconfigured` if the extra is not installed."""
    wanted = {"inline_css": inline_css, "text_from_html": text_from_html}
    for step, library in _LIBRARIES.items():
        if wanted[step] and find_spec(library) is None:
            text = f"INLINE_CSS and TEXT_FROM_HTML need the package '{library}', which the extra 'html' installs"
            raise Misconfigured(text)
    return HtmlProcess(**wanted) if any(wanted.values()) else unchanged


class _Failed(Exception):
    """The process did not answer; the text completes the sentence "the page … and was sent as it is"."""


class HtmlProcess:
    """Post-processes messages in another process. Thread-safe."""

    def __init__(self, *, inline_css: bool, text_from_html: bool, page_seconds: float = PAGE_SECONDS) -> None:
        self._steps = {"inline_css": inline_css, "text_from_html": text_from_html}
        self._page_seconds = page_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __call__(self, message: Message, deadline: Deadline) -> PostprocessedMessage:
        """Change the message; one that takes too long is returned unchanged, with a warning."""
        if not message.html:
            return PostprocessedMessage(message)
        request = json.dumps({"html": message.html, "has_text": bool(message.text), **self._steps}).encode()
        if not self._lock.acquire(timeout=max(0.0, min(deadline.remaining(), _LONGEST_QUEUE_SECONDS))):
            return _left(message, "could not be changed, because there are too many pages,")
        try:
            answer = self._ask(request, deadline)
        except _Failed as failure:
            self._end()
            return _left(message, str(failure))
        except BaseException:  # the answer to this page must not be taken for that to the next one
            self._end()
            raise
        finally:
            self._lock.release()
        if answer.get("warning"):
            return _left(message, answer["warning"])
        return PostprocessedMessage(replace(message, **answer) if answer else message)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes, deadline: Deadline) -> dict[str, Any]:
        process = self._started(deadline)
        until = deadline.within(self._page_seconds)
        channel = _Channel(process, until)
        channel.write(request)
        answer: dict[str, Any] = json.loads(channel.read())
        return answer

    def _started(self, deadline: Deadline) -> subprocess.Popen[bytes]:
        """The process, ready for a page."""
        if self._process is None or self._process.poll() is not None:
            self._end()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "sender.message.html_worker"],
                    cwd=_ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                )
            except OSError:
                raise _Failed("could not be changed, because the sender can start no other process,") from None
            for pipe in (self._process.stdin, self._process.stdout):
                os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
            _Channel(self._process, deadline.within(START_SECONDS)).read()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                pipe.close()  # type: ignore[union-attr]
            process.wait()


def _left(message: Message, cause: str) -> PostprocessedMessage:
    return PostprocessedMessage(message, (f"Field 'html' {cause} and was sent as it is.",))


class _Channel:
    """Both pipes of the process, until a deadline. Methods raise `_Failed`."""

    def __init__(self, process: subprocess.Popen[bytes], until: Deadline) -> None:
        self._input = process.stdin.fileno()  # type: ignore[union-attr]
        self._output = process.stdout.fileno()  # type: ignore[union-attr]
        self._until = until

    def write(self, text: bytes) -> None:
        rest = memoryview(len(text).to_bytes(4, "big") + text)
        while rest:
            self._wait(self._input, select.POLLOUT)
            try:
                rest = rest[os.write(self._input, rest) :]
            except OSError:
                raise _Failed("could not be changed, because it made the library fail,") from None

    def read(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def _exactly(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            self._wait(self._output, select.POLLIN)
            piece = os.read(self._output, min(size - len(content), 1024 * 1024))
            if not piece:
                raise _Failed("could not be changed, because it made the library fail,")
            content += piece
        return bytes(content)

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, self._until.remaining()) * 1000):
            raise _Failed("takes too long to change")

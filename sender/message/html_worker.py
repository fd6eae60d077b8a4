"""The process that post-processes pages for `sender.message.html_process`, which describes it.

It imports the libraries and nothing of Google's, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import IO, Any

from sender.message.html_postprocess import postprocess_page

#: The most memory that the process may use, in bytes; the densest pages take 260 bytes for each of theirs.
MEMORY_BYTES = 128 * 1024 * 1024
#: The process kills itself after this many seconds with one page, in case the sender has died.
_ALARM_SECONDS = 30
#: The most bytes of an answer. A style sheet that is copied into every element can make a page a thousand times longer.
MAX_ANSWER_BYTES = 5_000_000


def _answered(request: dict[str, Any]) -> dict[str, Any]:
    signal.alarm(_ALARM_SECONDS)
    try:
        return postprocess_page(request["html"], **{name: request[name] for name in request if name != "html"})
    except MemoryError:
        return {"warning": "takes too much memory to change"}
    except Exception as error:
        return {"warning": f"could not be changed ({type(error).__name__})"}
    finally:
        signal.alarm(0)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    _write(sink, b"ready")
    while head := source.read(4):
        text = json.dumps(_answered(json.loads(source.read(int.from_bytes(head, "big"))))).encode()
        if len(text) > MAX_ANSWER_BYTES:
            text = json.dumps({"warning": "becomes too long when it is changed"}).encode()
        _write(sink, text)


def _write(sink: IO[bytes], text: bytes) -> None:
    sink.write(len(text).to_bytes(4, "big") + text)
    sink.flush()


def main() -> None:
    """Serve pages from standard input until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the sender still needs it to finish
        signal.signal(number, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    _serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()

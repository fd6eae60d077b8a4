"""Drives Chromium through its DevTools protocol, over a pair of pipes: https://chromedevtools.github.io/devtools-protocol.

Messages are JSON, each ended by a zero byte. Nothing has to be installed but Chromium itself.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.waiting import wait_until
from tests.patience import patience

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
#: Chromium reads from the file descriptor 3 and writes to 4; the pipes have other numbers until then.
_START = "import os, sys; os.dup2({}, 3); os.dup2({}, 4); os.execv(sys.argv[1], sys.argv[1:])"
_FIRST_DESCRIPTOR = 10
SECONDS = patience(30.0)


def find_chromium() -> str | None:
    """The path of an installed Chromium."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A running browser with a fresh profile. As a context manager, it ends with the block."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._profile = tempfile.TemporaryDirectory(prefix="firepost-browser-", ignore_cleanup_errors=True)
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        ours, theirs = (_Pipe() for _ in range(2))
        start = _START.format(ours.reader, theirs.writer)
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, self._program, *OPTIONS, f"--user-data-dir={self._profile.name}"],
            pass_fds=(ours.reader, theirs.writer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(ours.reader)
        os.close(theirs.writer)
        self._commands = os.fdopen(ours.writer, "wb")
        self._messages = os.fdopen(theirs.reader, "rb")
        self._reader = threading.Thread(target=self._read, name="chromium", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._messages.close()
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()
        self._profile.cleanup()

    def page(self, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        """A new tab of this size, with the colour scheme `light` or `dark`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return page

    def tabs(self) -> list[str]:
        """The addresses of all open tabs."""
        found = self.call("Target.getTargets")["targetInfos"]
        return [target["url"] for target in found if target["type"] == "page"]

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._ids)
        command = {"id": number, "method": method, "params": parameters}
        with self._changed:
            self._commands.write(json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
            self._commands.flush()
            answered = self._changed.wait_for(lambda: number in self._answers, SECONDS)
            assert answered, f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def events(self, session: str, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events so far."""
        with self._changed:
            return [
                event["params"]
                for event in self._events
                if event.get("sessionId") == session and event["method"] in methods
            ]

    def _read(self) -> None:
        buffer = b""
        while piece := os.read(self._messages.fileno(), 1 << 20):
            *messages, buffer = (buffer + piece).split(b"\0")
            with self._changed:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._events.append(message)
                self._changed.notify_all()


class _Pipe:
    """A pipe whose descriptors are none of those that Chromium is given."""

    def __init__(self) -> None:
        self.reader, self.writer = (_moved(descriptor) for descriptor in os.pipe())


def _moved(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR)
    os.close(descriptor)
    return moved


class Page:
    """A tab."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command about this tab."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Go to an address, and return when the page and its scripts are loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Return when an expression is true."""
        assert wait_until(lambda: self._is_true(script), SECONDS, pause=0.02), f"never true: {script}; {self.text()}"

    def _is_true(self, script: str) -> bool:
        with contextlib.suppress(AssertionError):  # the page may be changing at this moment
            return bool(self.evaluate(script))
        return False

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.evaluate("document.body.innerText"))

    def wait_for_text(self, text: str) -> None:
        """Return when the page shows the text."""
        self.wait_for(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, down: float = 0.5) -> None:
        """Click an element as a mouse does, at this share of its height."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.wait_for(f"{place} !== null")
        self.evaluate(f"{place}.scrollIntoView({{block: 'center'}})")
        x, y = self.evaluate(f"(r => [r.x + r.width / 2, r.y + r.height * {down}])({place}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, selector: str, text: str) -> None:
        """Replace the content of a field by typing."""
        self.evaluate(f"(f => {{ f.focus(); f.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def answer_dialogs(self, accept: bool, action: Callable[[], None]) -> str:
        """Do something that asks, answer, and return the question."""
        before = len(self._browser.events(self._session, "Page.javascriptDialogOpening"))
        doing = threading.Thread(target=action)
        doing.start()

        def questions() -> list[Mapping[str, Any]]:
            return list(self._browser.events(self._session, "Page.javascriptDialogOpening")[before:])

        assert wait_until(lambda: bool(questions()), SECONDS, pause=0.02)
        self.call("Page.handleJavaScriptDialog", accept=accept)
        doing.join()
        return str(questions()[0]["message"])

    def complaints(self) -> list[str]:
        """Errors of scripts, and what the browser has refused or not found."""
        thrown = self._browser.events(self._session, "Runtime.exceptionThrown")
        logged = self._browser.events(self._session, "Log.entryAdded")
        return [str(each["exceptionDetails"]) for each in thrown] + [
            str(each["entry"]["text"]) for each in logged if each["entry"]["level"] == "error"
        ]

    def screenshot(self, file: Path) -> None:
        """Write a PNG of what the tab shows."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

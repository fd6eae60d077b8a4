"""A stand-in for Cloud Scheduler: calls the dispatcher's /reconcile periodically, and lets it stay until the next call.

Production does so every minute. Here, a developer is waiting for a mail, and the call is cheap, so it is more frequent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import requests

logger = logging.getLogger(__name__)

#: Longer than a run of the reconciler may take that does not stay.
ANSWER_SECONDS = 60.0


class Scheduler:
    """POSTs to `url` every `seconds`, the first time after the first pause, with the `token` unless that is None.

    As Cloud Scheduler, it makes no call before the last one is answered.
    """

    def __init__(self, url: str, seconds: float, token: Callable[[], str | None] = lambda: None) -> None:
        self._url = f"{url}?stay={seconds}"
        self._seconds = seconds
        self._token = token
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more calls."""
        self._stopped.set()

    def _run(self) -> None:
        answered_after = 0.0
        while not self._stopped.wait(max(0.0, self._seconds - answered_after)):
            called = time.monotonic()
            try:
                headers = {"Authorization": f"Bearer {token}"} if (token := self._token()) else {}
                answer = requests.post(self._url, headers=headers, timeout=self._seconds + ANSWER_SECONDS)
            except requests.RequestException as error:
                if not self._stopped.is_set():
                    logger.info("%s can't be called: %s", self._url, type(error).__name__)
            else:
                if not answer.ok:
                    logger.warning("%s answered %d.", self._url, answer.status_code)
            answered_after = time.monotonic() - called

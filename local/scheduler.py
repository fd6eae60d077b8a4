"""A stand-in for Cloud Scheduler: calls the dispatcher's /reconcile periodically.

Production does so every minute. Here, a developer is waiting for a mail with `sendAt`, and the call is cheap, so it is
more frequent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import requests

logger = logging.getLogger(__name__)

#: Longer than a run of the reconciler may take.
ANSWER_SECONDS = 60.0


class Scheduler:
    """POSTs to `url` every `seconds`, the first time after the first pause, with the `token` unless that is None."""

    def __init__(self, url: str, seconds: float, token: Callable[[], str | None] = lambda: None) -> None:
        self._url = url
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
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                headers = {"Authorization": f"Bearer {token}"} if (token := self._token()) else {}
                answer = requests.post(self._url, headers=headers, timeout=ANSWER_SECONDS)
            except requests.RequestException as error:
                logger.info("%s can't be called: %s", self._url, type(error).__name__)
            else:
                if not answer.ok:
                    logger.warning("%s answered %d.", self._url, answer.status_code)

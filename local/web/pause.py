"""What every page says while mail is paused."""

from __future__ import annotations

import time
from collections.abc import Callable

from google.cloud import firestore

from shared.delivery.pause import Pause, control_path

#: For so many seconds, what was read is used: open pages look several times a second.
FRESH_SECONDS = 2.0


class PauseNote:
    """What is paused, in a sentence for people."""

    def __init__(self, client: firestore.Client, collection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._document = client.document(control_path(collection))
        self._clock = clock
        self._known = ""
        self._read_at = float("-inf")

    def text(self) -> str:
        """The sentence; empty if nothing is paused."""
        if self._clock() - self._read_at >= FRESH_SECONDS:
            try:
                self._known = Pause.of(self._document.get().to_dict()).sentence
            except ValueError as error:
                self._known = f"the control document makes no sense: {error}"
            self._read_at = self._clock()
        return self._known

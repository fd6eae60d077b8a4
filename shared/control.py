"""What is paused, as a process last knew it: the control document, read only when somebody asks, and not each time.

docs/operating.md promises that nothing new is handed to a mail server ten seconds after a pause.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from shared.delivery.lanes import DEFAULT_LANE
from shared.delivery.pause import KNOWN_WITHIN, Pause, control_path
from shared.errors import FirepostError
from shared.firestore.database import Database, Snapshot

_log = logging.getLogger("firepost.control")

#: For how long what was read is used. A read costs as much as that of a mail, per process.
FRESH_SECONDS: Final = KNOWN_WITHIN.total_seconds()


class Control:
    """Reads the control document of a collection. Thread-safe."""

    def __init__(
        self,
        database: Database,
        collection: str,
        lane: str = DEFAULT_LANE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lane` is that of the mails to be checked; `monotonic` returns seconds."""
        self._database = database
        self._path = control_path(collection)
        self._lane = lane
        self._monotonic = monotonic
        self._reading = threading.Lock()
        self._known: Pause | None = None
        self._fresh_until = 0.0
        self._complained = False

    def pause(self) -> Pause:
        """What is paused, at most `FRESH_SECONDS` ago.

        If the document can't be read, or makes no sense, the last known state remains; that is logged once. Raises
        `Unavailable` if it can't be read and nothing is known yet.
        """
        with self._reading:
            if self._known is None or self._monotonic() >= self._fresh_until:
                self._known = self._read()
                self._fresh_until = self._monotonic() + FRESH_SECONDS
            return self._known

    def check(self, transport: str | None) -> None:
        """See `Pause.check`; raises `Unavailable`, too."""
        self.pause().check(self._lane, transport)

    def health(self, text: str) -> str:
        """The text, and what is paused as far as this process knows: it reads nothing for that."""
        sentence = self._known.sentence if self._known is not None else ""
        return f"{text}; {sentence}" if sentence else text

    def _read(self) -> Pause:
        [found] = self._database.read([self._path])
        if isinstance(found, FirepostError):
            if self._known is None:
                raise found
            self._complain("the control document can't be read")
            return self._known
        return self._understood(found)

    def _understood(self, found: Snapshot | None) -> Pause:
        try:
            pause = Pause.of(found.fields if found else None)
        except ValueError as error:
            self._complain(f"the control document makes no sense: {error}")
            return self._known or Pause()
        self._complained = False
        return pause

    def _complain(self, text: str) -> None:
        if not self._complained:
            _log.error("%s; what was paused before remains so", text)
        self._complained = True

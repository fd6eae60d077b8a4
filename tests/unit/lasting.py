"""An embedded backend that outlives a test and is emptied after it, because to start one takes 40 ms."""

from __future__ import annotations

from collections.abc import Callable

from google.cloud import firestore

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client

#: The trigger's collection. No document is written there, so no event is delivered to anybody.
UNWATCHED = "unwatched"
#: Writes in one request.
MOST_WRITES = 500


class LastingBackend:
    """A running backend and a client for it; `on_change` is told the path of each document that is written."""

    def __init__(self, project: str, on_change: Callable[[str], object] = str) -> None:
        self._on_change = on_change
        self._written: set[str] = set()
        self.backend = EmbeddedBackend(
            BackendOptions(project, UNWATCHED, "http://127.0.0.1:9/", on_change=self._changed)
        )
        self.backend.start()
        self.client: firestore.Client = firestore_client(self.backend.firestore, project)

    def empty(self) -> None:
        """Remove all faults and documents, but no topics."""
        self.backend.faults.clear()
        self.backend.faults.counts.clear()
        paths = list(self._written)
        for start in range(0, len(paths), MOST_WRITES):
            batch = self.client.batch()
            for path in paths[start : start + MOST_WRITES]:
                batch.delete(self.client.document(path))
            batch.commit()
        self._written.clear()

    def stop(self) -> None:
        self.client.close()
        self.backend.stop()

    def _changed(self, path: str) -> None:
        self._written.add(path)
        self._on_change(path)

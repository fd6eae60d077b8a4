"""Tells the stack which documents are written, and the developer of those that nobody here will ever look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from local.backends.embedded.firestore.documents import Change
from local.backends.embedded.firestore.names import path_of

logger = logging.getLogger(__name__)

#: Projects and databases that are warned of, each once.
MOST_WARNINGS = 20


class Observer:
    """Watches a store: `on_change` gets the path of each changed document of the project's database."""

    def __init__(self, project: str, on_change: Callable[[str], None]) -> None:
        self._project = project
        self._documents = f"projects/{project}/databases/(default)/documents/"
        self._on_change = on_change
        self._strangers: set[str] = set()

    def watch(self, changes: Sequence[Change]) -> None:
        """See `store.Watcher`."""
        for change in changes:
            if change.name.startswith(self._documents):
                self._on_change(path_of(change.name))
            else:
                self._warn(change.name)

    def _warn(self, name: str) -> None:
        _, project, _, database, _ = name.split("/", 4)
        place = f"project {project}" if project != self._project else f"database {database}"
        if place in self._strangers or len(self._strangers) >= MOST_WARNINGS:
            return
        self._strangers.add(place)
        advice = f"GOOGLE_CLOUD_PROJECT={self._project}" if project != self._project else "the database (default)"
        logger.warning(
            "A document was written in %s, which is not served here: use %s in your application.", place, advice
        )

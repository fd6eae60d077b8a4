"""Composes a mail for a worker: whatever happens becomes one of the errors that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sender.downloads.downloader import Downloads
from sender.memory.budget import Room
from sender.message.compose import Compose, Mail
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSendable, NotSent, Unavailable

_log = logging.getLogger("firepost.sender")


@dataclass(frozen=True, slots=True)
class Composing:
    """Composes mails with the files that they refer to, from the allowed sources."""

    compose: Compose
    downloads: Downloads

    def mail(
        self,
        path: str,
        fields: Mapping[str, Any],
        *,
        seed: str,
        now: datetime,
        deadline: Deadline,
        settled: frozenset[str],
        room: Room,
    ) -> Mail:
        """The mail of the document at `path`; for the parameters, see `Composer`.

        Raises `DeliveryFailed` if it can't be sent, and `Deferred` if it has to wait.
        """
        fetch = self.downloads.for_attempt(deadline)
        try:
            return self.compose(
                fields,
                seed=seed,
                now=now,
                deadline=deadline.start_by(),
                fetch=fetch,
                settled=settled,
                room=room,
            )
        except (DeliveryFailed, Deferred):
            raise
        except Unavailable as error:  # users or templates can't be read: nothing was sent, so try again later
            raise Deferred(None, str(error)) from error
        except MemoryError as error:
            text = "The sender had too little memory to compose the mail, which was not sent."
            raise NotSent(ErrorCode.TEMPORARY, text) from error
        except Exception as error:
            # A bug must not leave the document in PROCESSING. Nothing was sent, so report a definite failure.
            _log.exception("composing failed", extra={"fields": {"document": path}})
            text = f"The mail could not be composed ({type(error).__name__}) and was not sent."
            raise NotSendable(ErrorCode.VALIDATION, text) from error

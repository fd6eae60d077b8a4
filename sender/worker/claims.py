"""Claims and their ends, as many threads ask for them: together, and alone where that leads nowhere."""

from __future__ import annotations

import logging

from shared.batcher import Batcher, Batching
from shared.delivery.model import Decision, Reason
from shared.delivery.store import Claim, ClaimRequest, Conflict, Ending, MailStore
from shared.errors import Unavailable

_log = logging.getLogger("firepost.sender")


class Claims:
    """Begins and ends claims. Methods raise `Unavailable` and `Unwritable` as `MailStore`'s do for one document."""

    def __init__(self, store: MailStore, batching: Batching) -> None:
        self._store = store
        self._begins: Batcher[ClaimRequest, Claim | Decision | Conflict] = Batcher(store.claim, batching)
        self._ends: Batcher[Ending, Reason | Conflict] = Batcher(store.end, batching)

    def begin(self, request: ClaimRequest) -> Claim | Decision:
        """The claim, or why there is no attempt to make. Raises `InvalidMessage` as `MailStore.claim_alone`.

        A document that may have to be created is claimed alone.
        """
        outcome = Conflict() if request.mail is not None else self._begins.submit(request, key=request.path)
        return self._store.claim_alone(request, outcome.written) if isinstance(outcome, Conflict) else outcome

    def end(self, ending: Ending) -> Reason:
        """What was written. Whatever becomes of those that it went with, a result is not lost."""
        try:
            outcome = self._ends.submit(ending, key=ending.claim.path)
        except Exception as error:
            if not isinstance(error, Unavailable):
                _log.exception("claims could not be ended together")
            outcome = Conflict()
        return self._store.end_alone(ending) if isinstance(outcome, Conflict) else outcome

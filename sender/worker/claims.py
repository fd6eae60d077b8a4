"""Begins and ends claims for many threads: batched, and one by one after a conflict."""

from __future__ import annotations

import logging
from dataclasses import replace

from shared.batcher import Batcher, Batching
from shared.delivery.model import Decision
from shared.delivery.store import Claim, ClaimRequest, Conflict, Ending, MailStore
from shared.errors import Deferred, Unavailable
from shared.firestore.database import Unwritable, Version

_log = logging.getLogger("firepost.sender")


class Claims:
    """Batches claims, results, and what comes in between.

    `begin` and `end` raise `Unavailable` and `Unwritable`, as `MailStore.claim_alone` does.
    """

    def __init__(self, store: MailStore, batching: Batching) -> None:
        self._store = store
        self._begins: Batcher[ClaimRequest, Claim | Decision | Conflict] = Batcher(store.claim, batching)
        self._sendings: Batcher[Claim, Version | Conflict] = Batcher(store.sending, batching)
        self._ends: Batcher[Ending, Decision | Conflict] = Batcher(store.end, batching)

    def begin(self, request: ClaimRequest) -> Claim | Decision:
        """Claim a document; returns the decision instead if there is nothing to attempt.

        A request that may have to create its document bypasses the batch. Raises `InvalidMessage`, as
        `MailStore.claim_alone` does.
        """
        outcome = Conflict() if request.mail is not None else self._begins.submit(request, key=request.path)
        return self._store.claim_alone(request, outcome.written) if isinstance(outcome, Conflict) else outcome

    def sending(self, claim: Claim) -> Claim:
        """Note that the mail is about to be handed over, if the policy asks for that; returns the claim as it is then.

        Raises `Deferred`, and nothing may be sent, if that can't be written, or the claim does not own the document any
        more.
        """
        if not self._store.notes_sending:
            return claim
        try:
            outcome = self._sendings.submit(claim, key=claim.path)
            version = self._store.sending_alone(claim) if isinstance(outcome, Conflict) else outcome
        except (Unavailable, Unwritable) as error:
            raise Deferred(None, str(error)) from error
        except Exception as error:  # surely not sent: it must not end as "not known"
            _log.exception("the note that a mail is handed over failed")
            raise Deferred(None, f"The handing over could not be noted ({type(error).__name__}).") from error
        if version is None:
            raise Deferred(None, "The claim does not own the document any more.")
        return replace(claim, version=version)

    def end(self, ending: Ending) -> Decision:
        """Write the end of a claim and return what was decided; see `MailStore.end`.

        If the batch fails, the ending is written on its own, so that no result is lost.
        """
        try:
            outcome = self._ends.submit(ending, key=ending.claim.path)
        except Exception as error:
            if not isinstance(error, Unavailable):
                _log.exception("a batch of results failed")
            outcome = Conflict()
        return self._store.end_alone(ending) if isinstance(outcome, Conflict) else outcome

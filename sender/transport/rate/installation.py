"""The rate limits of an installation: the shares of each transport's stand in a document beside the mail collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sender.transport.rate.limit import RateLimit
from shared.delivery.model import Changes
from shared.document_ids import own_path
from shared.firestore.database import Database

#: Stands for any number of mails per second, where only tenants have a limit.
_ANY: Final = 1_000_000


class InstallationRates:
    """Makes the limits that all processes share which send the mails of a collection."""

    def __init__(
        self, database: Database, collection: str, process: str, by_tenant: bool, tenant_limit: float | None
    ) -> None:
        """`process` is this one's own word; the others are as in `RateLimit`."""
        self._database = database
        self._collection = collection
        self._process = process
        self._by_tenant = by_tenant
        self._tenant_limit = tenant_limit
        self._made: list[RateLimit] = []

    def __call__(self, transport: str, mails_per_second: float | None) -> RateLimit | None:
        """The limit of a transport; None if nothing limits its mails."""
        if mails_per_second is None and self._tenant_limit is None:
            return None
        path = own_path(self._collection, f"rate-{transport}")

        def exchange(decide: Callable[[Mapping[str, Any]], Changes]) -> None:
            self._database.transact(path, lambda found: (None, decide(found.fields if found else {})))

        limit = RateLimit(
            exchange,
            self._process,
            mails_per_second or _ANY,
            by_tenant=self._by_tenant,
            tenant_limit=self._tenant_limit,
        )
        self._made.append(limit)
        return limit

    def close(self) -> None:
        """Give all shares back. Called after the last mail."""
        for limit in self._made:
            limit.close()

"""Concurrent messages for one sender, whose claims are collected into one batch while another claim is running."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sender.worker.attempt import HandlerResult
from shared.delivery.policy import Policy
from shared.errors import FirepostError
from shared.firestore.database import Snapshot, Version, Write
from shared.pubsub.push import ReceivedMessage
from tests.assembly import LIMITS, PATIENCE, POLICY, SenderParts, collected
from tests.fakes import Clock, MemoryDatabase, MemoryTransport

FIRST = "mail/first"


class WatchedDatabase(MemoryDatabase):
    """Records the size of each request; `before` is called with each and may block or raise."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.before: Callable[[str, Sequence[str]], object] = lambda method, paths: None
        self._lock = threading.RLock()

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        self.before("read", paths)
        self.reads.append(len(paths))
        with self._lock:
            return super().read(paths)

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        self.before("write", [write.path for write in writes])
        self.writes.append(len(writes))
        with self._lock:
            return super().write(writes)

    def transact(self, path: str, decide: Any) -> Any:
        self.before("transact", [path])
        with self._lock:
            return super().transact(path, decide)


class Hold:
    """A point at which a thread waits until the test releases it."""

    def __init__(self) -> None:
        self._reached, self._released = threading.Event(), threading.Event()

    def wait(self) -> None:
        self._reached.set()
        assert self._released.wait(PATIENCE)

    def reached(self) -> None:
        assert self._reached.wait(PATIENCE)

    def release(self) -> None:
        self._released.set()


class Together:
    """A sender, and threads that pass it messages."""

    def __init__(self, threads: ThreadPoolExecutor, policy: Policy = POLICY) -> None:
        self.clock, self.database, self.transport = Clock(), WatchedDatabase(), MemoryTransport()
        self.parts = SenderParts(policy, self.database, self.transport, clock=self.clock, limits=LIMITS)
        self.attributes: dict[str, dict[str, str]] = {}
        self._threads = threads
        self.sender = self.parts.sender()

    def write(self, *names: str) -> None:
        for name in names:
            self.database.put(f"mail/{name}", {"to": f"{name}@b.c", "message": {"subject": "s", "text": "t"}})

    def handle(self, name: str) -> HandlerResult:
        data = json.dumps({"document": f"mail/{name}"}).encode()
        return self.sender.handle(ReceivedMessage(data, self.attributes.get(name, {}), "77"))

    def submit(self, name: str) -> Future[HandlerResult]:
        return self._threads.submit(self.handle, name)

    def together(self, names: Sequence[str], *, results: int = 0) -> list[Future[HandlerResult]]:
        """Submit messages for these documents so that their claims form one batch, and `results` of their results."""
        self.write("first")
        claiming, finishing, before = Hold(), Hold(), self.database.before
        earlier = [None, None] if self.parts.policy.notes_sending else [None]
        holds: dict[str, list[Hold | None]] = {
            "read": [claiming],
            "write": [*earlier, finishing if results else None],
        }

        def watch(method: str, paths: Sequence[str]) -> None:
            if list(paths) != [FIRST]:
                if results:
                    finishing.reached()  # else their results could leave before there is one to travel behind
                before(method, paths)
            elif hold := holds[method].pop(0):
                hold.wait()

        self.database.before = watch
        first = self.submit("first")
        claiming.reached()
        futures = [self.submit(name) for name in names]
        collected(self.sender._claims._begins, len(set(names)))
        claiming.release()
        if results:
            finishing.reached()
            collected(self.sender._claims._ends, results)
            finishing.release()
        assert first.result(PATIENCE).reason == "sent"
        return futures

    def delivery(self, name: str) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents[f"mail/{name}"].fields.get("delivery", {})
        return delivery

    def sent(self) -> list[str]:
        """The sorted local parts of the recipients, except that of the first mail."""
        recipients = (envelope.recipients[0].partition("@")[0] for envelope, _ in self.transport.sent)
        return sorted(name for name in recipients if name != "first")


def outcomes(futures: Sequence[Future[HandlerResult]]) -> list[str]:
    """The reasons, in parentheses if the message was not acknowledged; or the text of the error."""
    found = []
    for future in futures:
        try:
            handled = future.result(PATIENCE)
            found.append(handled.reason if handled.acknowledge else f"({handled.reason})")
        except FirepostError as error:
            found.append(str(error))
    return found

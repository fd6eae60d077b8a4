"""Delivers a backlog by HTTP POST: many items at a time, over keep-alive connections, until each is accepted.

One thread with an event loop serves a whole backlog: with a thread per pending answer, passing Python's interpreter
lock around would cost more CPU than posting.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from local.backends.embedded.backlog import Backlog, Lease
from local.backends.embedded.posting import Connections, NoAnswer, Request

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: Deliveries in flight at the same time, to one endpoint.
MAX_IN_FLIGHT = 64
#: Seconds to wait for the event loop to end.
STOP_SECONDS = 1.0


class Pusher(Generic[T]):
    """Delivers one backlog, which `lock` guards.

    `request_for` makes the request for a lease, and `accepts` says which statuses mean success; anything else, or no
    answer within `timeout()` seconds, is a failed attempt.
    """

    def __init__(
        self,
        backlog: Backlog[T],
        lock: AbstractContextManager[Any],
        request_for: Callable[[Lease[T]], Request],
        accepts: Callable[[int], bool],
        timeout: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._lock = lock
        self._request_for = request_for
        self._accepts = accepts
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connections = Connections()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._is_woken = False
        self._is_stopping = False

    def wake(self) -> None:
        """Signal, holding the lock, that the backlog has new items."""
        if self._is_woken or self._is_stopping:
            return
        self._is_woken = True
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name="embedded-push", daemon=True)
            self._thread.start()
        self._loop.call_soon_threadsafe(self._pump)

    def ask_to_stop(self) -> None:
        """Start no more deliveries and cancel those in flight; the caller holds the lock."""
        if self._loop is not None and not self._is_stopping:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._is_stopping = True

    def stop(self) -> None:
        """Like `ask_to_stop`, but return when it is done."""
        with self._lock:
            self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.run_until_complete(self._break_off())
        loop.close()

    async def _break_off(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connections.close()
        await asyncio.sleep(0)  # connections close in the loop's next iteration

    def _pump(self) -> None:
        """Start as many deliveries as there is room for, and schedule the next call for when something becomes due."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._is_stopping:  # a delivery that begins now would not be waited for
                return
            self._is_woken = False
            now = time.monotonic()
            leases = self._backlog.take(MAX_IN_FLIGHT - self._in_flight, now, self._timeout())
            due = self._backlog.next_due()
        self._in_flight += len(leases)
        for lease in leases:
            task = loop.create_task(self._deliver(lease))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if due is not None:
            self._come_back(loop, due - now)

    def _come_back(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        when = loop.time() + max(0.0, seconds)
        if self._timer is not None:
            if loop.time() < self._timer.when() <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._pump)

    async def _deliver(self, lease: Lease[T]) -> None:
        is_accepted = False
        try:
            async with asyncio.timeout(self._timeout()):
                is_accepted = self._accepts(await self._connections.post(self._request_for(lease)))
        except (NoAnswer, TimeoutError) as error:
            logger.debug("Delivery attempt %d failed: %s", lease.attempt, type(error).__name__)
        finally:
            self._in_flight -= 1
        with self._lock:
            if is_accepted:
                self._backlog.acknowledge(lease.number)
            else:
                self._backlog.reject(lease.number, time.monotonic())
        self._pump()

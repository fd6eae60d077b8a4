"""Messages worked off a handful at a time: claimed by one request, sent one after another, finished by one write.

It is what makes a mail cheap under load: requests are shared, threads need not take turns, and each step's code stays
in the processor's caches while it does the same for the next mail. A handful is as much as gets done in a tenth of a
second. So mails to a slow server go one at a time, each in its own thread, and a crash concerns few more than those
that would have been under way anyway.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sender.attempt import Attempt, Attempts, Ended, Start, Verdict
from sender.handler import Sender
from shared.bulk_store import BulkStore, Left
from shared.coalescer import Coalescer
from shared.errors import Unavailable
from shared.message import Message
from shared.push import Delivered
from shared.states import Decision, Reason
from shared.store import Claim

#: Seconds that a handful is meant to take, and after which what it has not begun is made in threads of its own.
_PLANNED_SECONDS = 0.1
_LONGEST_SECONDS = 0.3
#: What a mail takes beside the server's time, and how many mails tell what that is.
_OWN_SECONDS = 0.002
_RECENT = 50


@dataclass(frozen=True, slots=True)
class _Task:
    delivered: Delivered
    asked: Message


#: What comes of a task; an `Attempt` that was not begun, and what is `Left`, are its caller's.
_Answer = Verdict | Attempt | Left | Exception


class Pace:
    """How many mails get done in the planned time, as far as is known from those before."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._most = limit

    def most(self) -> int:
        """What a handful may hold."""
        return self._most

    def note(self, seconds: float) -> None:
        """A mail server took a mail over within so many seconds.

        The quicker ones of the last mails count: what the others waited for may as well have been a turn in here.
        """
        self._recent.append(seconds)
        quick = sorted(self._recent)[len(self._recent) // 10]
        self._most = max(1, min(self._limit, int(_PLANNED_SECONDS / (quick + _OWN_SECONDS))))


class HandfulSender:
    """A `Sender` whose concurrent calls share their work."""

    def __init__(
        self,
        sender: Sender,
        attempts: Attempts,
        store: BulkStore,
        *,
        pace: Pace,
        at_once: int,
        wait_seconds: float,
        attempt_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pace` is told by `attempts` how long mails take; `at_once` is how many handfuls are worked off at a time.

        While some are, the next waits for others to join it: `wait_seconds` at most.
        """
        self._sender = sender
        self._attempts = attempts
        self._store = store
        self._monotonic = monotonic
        self._together: Coalescer[_Task, Verdict | Attempt | Left] = Coalescer(
            self._work_off,
            pace.most,
            wait_seconds,
            at_once=at_once,
            queue_seconds=attempt_seconds,
            work_seconds=2 * attempt_seconds,
        )

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._attempts.drain()

    def handle(self, delivered: Delivered) -> Verdict:
        """See `Handler.handle`. What its handful leaves undone, the caller's thread does."""
        with self._sender.working_on(delivered):
            asked = self._sender.read(delivered)
            if isinstance(asked, Verdict):
                return asked
            if asked.mail is not None:  # a document may have to be created
                return self._sender.attempt(delivered, asked)
        answer = self._together.submit(_Task(delivered, asked), key=asked.path)
        with self._sender.working_on(delivered):
            match answer:
                case Verdict():
                    return answer
                case Attempt():
                    return self._sender.carry_out(answer)
                case Left():
                    return self._sender.attempt(delivered, asked, answer.written)

    def _work_off(self, tasks: Sequence[_Task]) -> Sequence[_Answer]:
        return [self._alone(tasks[0])] if len(tasks) == 1 else self._all(tasks)

    def _alone(self, task: _Task) -> Verdict:
        with self._sender.working_on(task.delivered):
            return self._sender.attempt(task.delivered, task.asked)

    def _all(self, tasks: Sequence[_Task]) -> list[_Answer]:
        """Claim all, make what can be begun in time, and finish that."""
        starts, end = [self._sender.start() for _ in tasks], self._monotonic() + _LONGEST_SECONDS
        with _step("claim", starts):
            claims = self._store.claim_all([task.asked.path for task in tasks], starts[0].at)
        made = [self._made(*each, end) for each in zip(tasks, starts, claims, strict=True)]
        written = self._written([each for each in made if isinstance(each, Ended)])
        return [
            self._verdict(task, each, written[task.asked.path]) if isinstance(each, Ended) else each
            for task, each in zip(tasks, made, strict=True)
        ]

    def _made(self, task: _Task, start: Start, claim: Claim | Decision | Left, end: float) -> _Answer | Ended:
        with self._sender.working_on(task.delivered):
            match claim:
                case Left():
                    return claim
                case Decision():
                    return self._sender.decline(claim, task.asked.path)
            attempt = Attempt(claim, start)
            if self._monotonic() > end:
                return attempt
            try:
                return self._attempts.make(attempt)
            except Exception as error:
                return error

    def _written(self, ended: list[Ended]) -> dict[str, bool | Unavailable]:
        """Whether each result was written, by path; not if it has to be written alone."""
        paths = [each.attempt.claim.path for each in ended]
        with _step("finish", [each.attempt.start for each in ended]):
            try:
                results = [(each.attempt.claim, self._attempts.changes(each)) for each in ended]
                return dict(zip(paths, self._store.finish_all(results), strict=True))
            except Unavailable as error:
                return dict.fromkeys(paths, error)

    def _verdict(self, task: _Task, ended: Ended, written: bool | Unavailable) -> _Answer:
        with self._sender.working_on(task.delivered):
            if isinstance(written, Unavailable):
                self._attempts.report_unwritten(ended)
                return written
            try:
                return self._attempts.report(ended, Reason.FINISHED) if written else self._attempts.finish(ended)
            except Exception as error:
                return error


@contextmanager
def _step(name: str, starts: Sequence[Start]) -> Iterator[None]:
    """A step that the attempts take together."""
    with ExitStack() as steps:
        for start in starts:
            steps.enter_context(start.course.step(name))
        yield

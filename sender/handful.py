"""Messages worked off a handful at a time: claimed by one request, sent one after another, finished by one write.

It is what makes a mail cheap under load: requests are shared, threads need not take turns, and each step's code stays
in the processor's caches while it does the same for the next mail. One of the callers works for all; the others wait,
and take their mail back when it takes long. So a mail that a server keeps waiting keeps no other waiting for long.

A handful is as much as gets done in a tenth of a second; mails to a slow server go one at a time. What a crash leaves
behind, claimed and not begun or sent and not written, is therefore what was touched within that time.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from opentelemetry.context import Context

from sender.attempt import Attempt, Attempts, Ended, Start, Verdict
from sender.handler import Sender
from shared import tracing
from shared.bulk_store import BulkStore, Left
from shared.coalescer import Closed, Coalescer
from shared.errors import Unavailable
from shared.message import Message
from shared.push import Delivered
from shared.states import Decision, Lease, Reason

_log = logging.getLogger("firepost.sender")

#: How many mails go together at most.
LARGEST = 32
#: Seconds that a handful is meant to take.
_PLANNED_SECONDS = 0.1
#: Seconds after the claim from which on callers take their mails back.
_LONGEST_SECONDS = 0.5
#: What a mail takes beside the attempt: its share in claiming and finishing.
_OWN_SECONDS = 0.001
#: How many of the last mails tell how long one takes.
_RECENT = 50

_Work = TypeVar("_Work", Attempt, Ended)


@dataclass(frozen=True, slots=True)
class _Alone:
    """What its caller has to claim alone: since when that was tried, and the lease that may have been written."""

    start: Start
    written: Lease | None


_Outcome = Verdict | Attempt | _Alone | Exception


class _Task:
    """A message's way through a handful: at any time, one thread works on it, or none."""

    def __init__(self, asked: Message, within: Context) -> None:
        self.asked = asked
        self.trace = within
        #: Those that were claimed with it, and when (monotonic seconds) it may be taken back.
        self.handful: Sequence[_Task] = ()
        self.overdue_at = math.inf
        self.outcome: _Outcome | None = None
        self._is_settled = threading.Event()
        self._lock = threading.Lock()
        self._work: Attempt | Ended | None = None

    def put(self, work: Attempt | Ended) -> None:
        """This is to be done next, by whoever takes it."""
        with self._lock:
            self._work = work

    def take(self, kind: type[_Work]) -> _Work | None:
        """The work, for the first who asks; None if it is of another kind."""
        with self._lock:
            if not isinstance(self._work, kind):
                return None
            work, self._work = self._work, None
            return work

    def settle(self, outcome: _Outcome) -> None:
        """Nothing is left to be done."""
        self.outcome = outcome
        self._is_settled.set()

    def settled(self, seconds: float) -> _Outcome:
        """The outcome, as soon as there is one; `Unavailable` after so many seconds."""
        self._is_settled.wait(seconds)
        return self.outcome or Unavailable("No answer came in time.")


class Pace:
    """How many mails get done in the planned time, as the last ones tell. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._most = limit

    def most(self) -> int:
        """What a handful may hold."""
        return self._most

    def note(self, seconds: float) -> None:
        """A mail was composed and sent, or not, within so many seconds.

        The quicker ones of the last mails count: what the others waited for may as well have been a turn in here.
        """
        with self._lock:
            self._recent.append(seconds)
            quick = sorted(self._recent)[len(self._recent) // 10]
        self._most = max(1, min(self._limit, int(_PLANNED_SECONDS / (quick + _OWN_SECONDS))))


class HandfulSender:
    """A `Handler` whose concurrent calls share their work."""

    def __init__(
        self,
        sender: Sender,
        attempts: Attempts,
        store: BulkStore,
        *,
        pace: Pace,
        at_once: int,
        wait_seconds: float,
        queue_seconds: float,
        work_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pace` is told by `attempts` how long mails take; `at_once` handfuls are worked off at a time.

        While some are, the next waits for others to join it, `wait_seconds` at most, and then for its turn, for
        `queue_seconds`; no mail is claimed before. `work_seconds` is what claim, attempt and finish take at most.
        """
        self._sender = sender
        self._attempts = attempts
        self._store = store
        self._work_seconds = work_seconds
        self._monotonic = monotonic
        self._together: Coalescer[_Task, _Outcome | None] = Coalescer(
            self._work_off,
            pace.most,
            wait_seconds,
            at_once=at_once,
            queue_seconds=queue_seconds,
            work_seconds=work_seconds,
            take_back=self._take_back,
        )

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._together.close()
        self._attempts.drain()

    def handle(self, delivered: Delivered) -> Verdict:
        """See `Handler.handle`. What its handful leaves undone, the caller's thread does."""
        with self._sender.working_on(delivered):
            return self._sender.refusing(delivered, lambda: self._handle(self._sender.read(delivered)))

    def _handle(self, asked: Message) -> Verdict:
        if asked.mail is not None:  # a document may have to be created
            return self._sender.attempt(asked)
        try:
            outcome = self._submitted(_Task(asked, tracing.current()))
        except Closed:
            return self._sender.decline(Decision(Reason.RELEASED, acknowledge=False), asked.path)
        match outcome:
            case Verdict():
                return outcome
            case Attempt():
                return self._sender.carry_out(outcome)
            case _Alone():
                return self._sender.attempt(asked, outcome.start, outcome.written)
        raise outcome

    def _submitted(self, task: _Task) -> _Outcome:
        """What the handful makes of the task; another caller may still be writing it down when the handful is done."""
        return self._together.submit(task, key=task.asked.path) or task.settled(self._work_seconds)

    def _take_back(self, task: _Task) -> _Outcome | None:
        """What a caller may go on with whose handful takes long: its own mail, or the results that are kept waiting."""
        if self._monotonic() < task.overdue_at:
            return None
        if (attempt := task.take(Attempt)) is not None:
            return attempt
        self._finish(task.handful)
        return task.outcome

    def _work_off(self, tasks: Sequence[_Task]) -> Sequence[_Outcome | None]:
        if len(tasks) == 1:
            return [self._sender.attempt(tasks[0].asked)]
        self._claim(tasks)
        for task in tasks:
            if (attempt := task.take(Attempt)) is not None:
                self._make(task, attempt)
        self._finish(tasks)
        return [task.outcome for task in tasks]

    def _claim(self, tasks: Sequence[_Task]) -> None:
        starts = [self._sender.start() for _ in tasks]
        with _step("claim", starts):
            claims = self._store.claim_all([task.asked.path for task in tasks], starts[0].at)
        for task, start, claim in zip(tasks, starts, claims, strict=True):
            task.handful, task.overdue_at = tasks, self._monotonic() + _LONGEST_SECONDS
            match claim:
                case Left():
                    task.settle(_Alone(start, claim.written))
                case Decision():
                    with tracing.within(task.trace):
                        task.settle(self._sender.decline(claim, task.asked.path))
                case _:
                    task.put(Attempt(claim, start))

    def _make(self, task: _Task, attempt: Attempt) -> None:
        with tracing.within(task.trace):
            try:
                made = self._attempts.make(attempt)
            except Exception as error:
                task.settle(error)
                return
        if isinstance(made, Verdict):
            task.settle(made)
        else:
            task.put(made)

    def _finish(self, tasks: Sequence[_Task]) -> None:
        """Write the results that there are, and that nobody else is writing."""
        ended = [(task, work) for task in tasks if (work := task.take(Ended)) is not None]
        if not ended:
            return
        with _step("finish", [each.attempt.start for _, each in ended]):
            written = self._written([each for _, each in ended])
        for (task, each), outcome in zip(ended, written, strict=True):
            with tracing.within(task.trace):
                task.settle(self._concluded(each, outcome))

    def _written(self, ended: Sequence[Ended]) -> Sequence[bool | Unavailable]:
        """Whether each result was written; not if it has to be written alone."""
        try:
            return self._store.finish_all([(each.attempt.claim, each.result, each.at, each.jitter) for each in ended])
        except Unavailable as error:
            return [copy.copy(error) for _ in ended]  # one for each thread: a traceback belongs to one
        except Exception:  # a bug of ours, about one of them perhaps
            _log.exception("results could not be written together")
            return [False] * len(ended)

    def _concluded(self, ended: Ended, written: bool | Unavailable) -> Verdict | Exception:
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

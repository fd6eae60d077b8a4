"""Commands and replies on one connection, each within its time, and what went wrong told in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sender.transport.smtp.config import SmtpServer
from sender.transport.smtp.replies import Reply, Step, loss, refusal
from sender.transport.smtp.socket import SmtpSocket
from shared.deadline import Deadline
from shared.errors import DeliveryFailed, ErrorCode, NotSent

_log = logging.getLogger(__name__)

T = TypeVar("T")


@contextmanager
def before_the_content(server: str) -> Iterator[None]:
    """What goes wrong within leaves no doubt, even if it is a bug of ours: not sent. Raises `DeliveryFailed`."""
    try:
        yield
    except DeliveryFailed:
        raise
    except Exception as error:
        _log.exception("the mail could not be begun", extra={"fields": {"server": server}})
        text = f"The conversation with the mail server {server} failed ({type(error).__name__}). Nothing was sent."
        raise NotSent(ErrorCode.TEMPORARY, text) from error


class Session:
    """What a session is made of. Used by one thread at a time.

    Nothing begins, or goes on, past `deadline`, which its user sets as the conversation proceeds. `advice` is what may
    mend a refused login, `mask` takes our secrets out of what the server says.
    """

    def __init__(self, server: SmtpServer, deadline: Deadline, advice: str, mask: Callable[[str], str]) -> None:
        self.deadline = deadline
        self.name = str(server)
        self.socket = SmtpSocket(server.client_name, deadline)
        #: How many replies are still to come for what has been said.
        self.due = 0
        self._advice = advice
        self._mask = mask
        self._seconds = server.timeouts.command

    @property
    def in_step(self) -> bool:
        """Whether the connection is open, and every command has its reply and every reply its command."""
        return self.socket.in_step and not self.due

    def command(self, step: Step, command: str) -> Reply:
        """Say a command and return its reply. Raises as `hear` does."""
        self.send(step, [command])
        return self.receive(step)

    def send(self, step: Step, commands: Sequence[str]) -> None:
        """Say commands in one write; `hear` then gives their replies in order (RFC 2920). `step` is the first one's.

        Raises `ConnectionSpent`, also if the server has spoken before; another `NotSent` when the time has run out.
        """

        def ask() -> None:
            self.socket.expect_silence()
            self.socket.put_commands(commands)

        self.timed(step, self._seconds, ask)
        self.due += len(commands)

    def receive(self, step: Step) -> Reply:
        """The next reply that is due. Raises `ConnectionSpent` if none comes, or if it is 421."""
        reply = Reply.decode(*self.timed(step, self._seconds, self.socket.getreply))
        self.due -= 1
        if reply.code == 421:
            raise self.refused(step, reply)
        return reply

    def timed(self, step: Step, seconds: float, talk: Callable[[], T]) -> T:
        """Let `talk` use the wire for so long; not at all when the time has run out already.

        Raises `ConnectionSpent` for its `OSError`, and closes then. Also closes when the time has run out over replies
        that are due, because what they are replies to can't be taken back.
        """
        if self.deadline.remaining() <= 0:
            if self.due:
                self.socket.close()
            text = f"The attempt's time ran out before {step.value} at the mail server {self.name}."
            raise NotSent(ErrorCode.TEMPORARY, text)
        self.socket.until = self.deadline.within(seconds)
        try:
            return talk()
        except OSError as error:
            self.socket.close()
            raise loss(self.name, step, error) from error

    def shown(self, reply: Reply) -> Reply:
        """The reply as people may see it."""
        return reply.shown(self._mask)

    def refused(self, step: Step, reply: Reply) -> NotSent:
        """The error for a reply that is not the hoped-for one; closes where the two sides can't go on."""
        if reply.code == 421 or not reply.refused:  # it hangs up, or is at another point of the dialogue than we are
            self.socket.close()
        return refusal(self.name, step, self.shown(reply), self._advice)

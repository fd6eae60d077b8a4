"""Commands and replies on one connection, each within its time limit, with errors turned into `NotSent`."""

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
    """Turn any error in the block, even a bug, into a definite `NotSent`. Raises `DeliveryFailed`."""
    try:
        yield
    except DeliveryFailed:
        raise
    except Exception as error:
        _log.exception("the mail could not be started", extra={"fields": {"server": server}})
        text = f"The conversation with the mail server {server} failed ({type(error).__name__}). Nothing was sent."
        raise NotSent(ErrorCode.TEMPORARY, text) from error


class Session:
    """Sends commands and receives replies. Used by one thread at a time.

    Nothing starts or continues after `deadline`, which the caller sets for each phase. `advice` is appended to the
    error for a refused login; `mask` masks secrets in replies.
    """

    def __init__(self, server: SmtpServer, deadline: Deadline, advice: str, mask: Callable[[str], str]) -> None:
        self.deadline = deadline
        self.name = str(server)
        self.socket = SmtpSocket(server.client_name, deadline)
        #: The number of commands that have no reply yet.
        self.pending_replies = 0
        self._advice = advice
        self._mask = mask
        self._seconds = server.timeouts.command

    @property
    def in_step(self) -> bool:
        """Whether the connection is open, with exactly one reply for each command."""
        return self.socket.in_step and not self.pending_replies

    def command(self, step: Step, command: str) -> Reply:
        """Send a command and return its reply. Raises as `send` and `receive` do."""
        self.send(step, [command])
        return self.receive(step)

    def send(self, step: Step, commands: Sequence[str]) -> None:
        """Send commands in one write; `receive` then returns their replies in order (RFC 2920).

        `step` is that of the first command. Raises `ConnectionSpent` if the connection is lost or the server has sent
        something unprompted; another `NotSent` if the time has run out.
        """

        def write() -> None:
            self.socket.expect_silence()
            self.socket.put_commands(commands)

        self.timed(step, self._seconds, write)
        self.pending_replies += len(commands)

    def receive(self, step: Step) -> Reply:
        """Read the next reply. Raises `ConnectionSpent` if none arrives, or if it is 421."""
        reply = Reply.decode(*self.timed(step, self._seconds, self.socket.getreply))
        self.pending_replies -= 1
        if reply.code == 421:
            raise self.refused(step, reply)
        return reply

    def timed(self, step: Step, seconds: float, action: Callable[[], T]) -> T:
        """Run `action` on the socket within `seconds` and the deadline.

        Raises `ConnectionSpent` for an `OSError`, and closes the connection. Raises `NotSent` if the deadline has
        already passed; closes the connection only if replies are pending, because those commands can't be taken back.
        """
        if self.deadline.remaining() <= 0:
            if self.pending_replies:
                self.socket.close()
            text = f"The attempt's time ran out before {step.value} at the mail server {self.name}."
            raise NotSent(ErrorCode.TEMPORARY, text)
        self.socket.until = self.deadline.within(seconds)
        try:
            return action()
        except OSError as error:
            self.socket.close()
            raise loss(self.name, step, error) from error

    def shown(self, reply: Reply) -> Reply:
        """The reply with secrets masked and its length limited."""
        return reply.shown(self._mask)

    def refused(self, step: Step, reply: Reply) -> NotSent:
        """The error for a reply other than success; closes the connection if it can't be used any more."""
        if reply.code == 421 or not reply.refused:  # the server hangs up, or is out of step with us
            self.socket.close()
        return refusal(self.name, step, self.shown(reply), self._advice)

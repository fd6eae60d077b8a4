"""One mail on a connection (RFC 5321 section 3.3), with as few round trips as the server allows (RFC 2920)."""

from __future__ import annotations

import contextlib
import math

from sender.transport.envelope import Envelope, Receipt
from sender.transport.smtp import commands
from sender.transport.smtp.replies import FOR_NOW, ConnectionSpent, Reply, Step, describe_loss, sentence
from sender.transport.smtp.session import Session, before_the_content
from shared.deadline import Deadline
from shared.errors import NotSent, OutcomeUnknown

#: Seconds for which a server that does not answer DATA with 354, as RFC 5321 section 4.3.2 wants it, is listened to,
#: whether that was all: it may be odd, or have no more mails for us, or have answered an earlier command twice.
SECOND_THOUGHTS = 0.2


#: Seconds in which the server must have forgotten a mail that is not sent; else, the connection is not used again.
TIDY_SECONDS = 5.0


class Transaction:
    """The mail under way: what has been said for it, what the server has answered, and how to get out of it.

    With `pipelining`, MAIL, RCPT and DATA are said in one go, two round trips for the whole mail; without, one by one.
    All else is the same: each reply is judged when its turn comes, as if nothing had been said since.

    A connection that `was_used` before may be one that the server is about to leave. So half of the time must do for a
    sign of life, and a mail that is refused as a whole has met the end of the session, for all we know.
    """

    def __init__(self, session: Session, pipelining: bool, data_seconds: float, was_used: bool) -> None:
        #: Whether the server is done with the mail, so that another may follow.
        self.is_over = False
        self._session = session
        self._pipelining = pipelining
        self._data_seconds = data_seconds
        self._was_used = was_used
        self._commands: list[commands.Command] = []
        self._replies: list[Reply] = []

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """As `SmtpConnection.send` says."""
        session = self._session
        offers = session.socket.esmtp_features
        try:
            with before_the_content(session.name):
                self._commands = commands.opening(session.name, offers, envelope, data)
                self._open(envelope, deadline.brought_forward(data_margin))
            session.deadline = deadline
            response = self._hand_over(data)
        except NotSent:
            session.deadline = deadline.within(TIDY_SECONDS)
            self._abandon()
            raise
        return commands.receipt(envelope, self._replies[1:], session.shown(response), offers)

    def _open(self, envelope: Envelope, deadline: Deadline) -> None:
        """Say MAIL, RCPT for each recipient and DATA, until the server waits for the content."""
        session = self._session
        session.deadline = deadline.within(deadline.remaining() / 2) if self._was_used else deadline
        for index, (step, _) in enumerate(self._commands):
            if step is Step.DATA and not any(reply.accepted for reply in self._replies[1:]):
                raise self._refused_to_all(envelope)
            if not session.due:
                rest = self._commands[index:] if self._pipelining else self._commands[index : index + 1]
                session.send(step, commands.group(rest))
            reply = session.receive(step)
            session.deadline = deadline
            if step is Step.DATA:
                self._expect_go_ahead(reply)
            else:
                self._replies.append(reply)
                if not commands.is_success(step, reply):
                    raise self._refused(step, reply)

    def _expect_go_ahead(self, reply: Reply) -> None:
        """Return if the server waits for the content, and has said nothing else."""
        session = self._session
        if not commands.is_success(Step.DATA, reply):
            listen = self._pipelining or reply.accepted
            patience = max(0.0, min(SECOND_THOUGHTS, session.deadline.remaining()))
            more = session.timed(Step.DATA, math.inf, lambda: session.socket.more(patience)) if listen else None
            if not more and not reply.accepted:
                self._replies.append(reply)
                raise self._refused(Step.DATA, reply)
        session.timed(Step.DATA, math.inf, session.socket.expect_silence)

    def _refused(self, step: Step, reply: Reply) -> NotSent:
        return self._spent(self._session.refused(step, reply))

    def _refused_to_all(self, envelope: Envelope) -> NotSent:
        replies = self._replies[1:]
        failure = self._session.refused(Step.RCPT, commands.most_temporary(replies))
        failure.rejected = commands.refused_for_good(envelope, replies)
        failure.retry_after = commands.longest_wait(replies)
        return self._spent(failure) if failure.code in FOR_NOW else failure

    def _spent(self, failure: NotSent) -> NotSent:
        """The failure as one of the connection, if it may be; it is closed then."""
        if not self._was_used or isinstance(failure, ConnectionSpent):
            return failure
        self._session.socket.close()
        return ConnectionSpent.by(failure)

    def _hand_over(self, data: bytes) -> Reply:
        """The content itself. From its first byte on, only a complete reply tells what became of it."""
        sock, name = self._session.socket, self._session.name
        sock.until = self._session.deadline.within(self._data_seconds)
        try:
            sock.put(commands.as_data(data))
            reply = Reply.decode(*sock.getreply())
        except OSError as error:
            sock.close()
            raise _unknown(describe_loss(name, Step.BODY, error)) from error
        self.is_over = True
        if reply.refused:
            raise self._session.refused(Step.BODY, reply)
        if not reply.accepted:
            sock.close()
            said = sentence(str(self._session.shown(reply)))
            raise _unknown(f"The mail server {name} answered {Step.BODY.value} with {said}")
        return reply

    def _abandon(self) -> None:
        """Hear the replies that are due and let the server forget the mail; if that fails, it isn't over."""
        session = self._session
        if self.is_over or not session.socket.is_open:
            return
        with contextlib.suppress(NotSent):  # the reason for which the mail was abandoned is the one to report
            while session.due:
                self._replies.append(session.receive(self._commands[len(self._replies)][0]))
            command = commands.abort_command(self._commands, self._replies)
            if command:
                reply = session.command(Step.RESET, command)
                self.is_over = reply.accepted or (command == "." and reply.refused)
            else:
                self.is_over = command is not None


def _unknown(text: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{text} It may have taken the mail over, or not.")

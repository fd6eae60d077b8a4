"""Sends one mail on a connection (RFC 5321 section 3.3), with as few round trips as the server allows (RFC 2920)."""

from __future__ import annotations

import contextlib
import math

from sender.transport.envelope import Envelope, Receipt
from sender.transport.smtp import commands
from sender.transport.smtp.replies import TRANSIENT, ConnectionSpent, Reply, Step, describe_loss, sentence
from sender.transport.smtp.session import Session, before_the_content
from shared.deadline import Deadline
from shared.errors import NotSent, OutcomeUnknown

#: Seconds to wait for a further reply if a server does not answer DATA with 354 (RFC 5321 section 4.3.2). It may have
#: answered an earlier command twice, may accept no more mails, or may use another code.
EXTRA_REPLY_SECONDS = 0.2

#: Time limit, in seconds, for aborting a mail; after that, the connection is not used again.
ABORT_SECONDS = 5.0


class Transaction:
    """One mail transaction: the commands sent, the replies received, and how to abort.

    With `pipelining`, MAIL, RCPT and DATA are sent in one write, so a mail takes two round trips; without it, they are
    sent one by one. The replies are evaluated in the same way, one after another.

    If the connection `was_used` before, the server may be about to close it. So the first reply must arrive within half
    of the time, and the refusal of a whole mail counts as the end of the session.
    """

    def __init__(self, session: Session, pipelining: bool, data_seconds: float, was_used: bool) -> None:
        #: Whether the server has finished with the mail, so that another may follow.
        self.is_over = False
        self._session = session
        self._pipelining = pipelining
        self._data_seconds = data_seconds
        self._was_used = was_used
        self._commands: list[commands.Command] = []
        self._replies: list[Reply] = []

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """See `SmtpConnection.send`."""
        session = self._session
        offers = session.socket.esmtp_features
        try:
            with before_the_content(session.name):
                self._commands = commands.opening(session.name, offers, envelope, data)
                self._open(envelope, deadline.start_by(data_margin))
            session.deadline = deadline
            response = self._hand_over(data)
        except NotSent:
            session.deadline = deadline.within(ABORT_SECONDS)
            self._abort()
            raise
        return commands.receipt(envelope, self._replies[1:], session.shown(response), offers)

    def _open(self, envelope: Envelope, deadline: Deadline) -> None:
        """Send MAIL, RCPT for each recipient and DATA. Returns when the server waits for the content."""
        session = self._session
        session.deadline = deadline.within(deadline.remaining() / 2) if self._was_used else deadline
        for index, (step, _) in enumerate(self._commands):
            if step is Step.DATA and not any(reply.accepted for reply in self._replies[1:]):
                raise self._refused_to_all(envelope)
            if not session.pending_replies:
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
        """Return if the server waits for the content and has sent nothing else; otherwise raise `NotSent`."""
        session = self._session
        if not commands.is_success(Step.DATA, reply):
            listen = self._pipelining or reply.accepted
            seconds = max(0.0, min(EXTRA_REPLY_SECONDS, session.deadline.remaining()))
            more = session.timed(Step.DATA, math.inf, lambda: session.socket.more(seconds)) if listen else None
            if not more and not reply.accepted:
                self._replies.append(reply)
                raise self._refused(Step.DATA, reply)
        session.timed(Step.DATA, math.inf, session.socket.expect_silence)

    def _refused(self, step: Step, reply: Reply) -> NotSent:
        return self._spent(self._session.refused(step, reply))

    def _refused_to_all(self, envelope: Envelope) -> NotSent:
        replies = self._replies[1:]
        failure = self._session.refused(Step.RCPT, commands.most_temporary(replies))
        failure.rejected = commands.rejected(envelope, replies)
        failure.retry_after = commands.longest_wait(replies)
        return self._spent(failure) if failure.code in TRANSIENT else failure

    def _spent(self, failure: NotSent) -> NotSent:
        """On a connection that was used before, attribute the failure to the connection and close it."""
        if not self._was_used or isinstance(failure, ConnectionSpent):
            return failure
        self._session.socket.close()
        return ConnectionSpent.by(failure)

    def _hand_over(self, data: bytes) -> Reply:
        """Send the content. From its first byte on, the outcome is unknown until a complete reply arrives."""
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
            words = sentence(str(self._session.shown(reply)))
            raise _unknown(f"The mail server {name} answered {Step.BODY.value} with {words}")
        return reply

    def _abort(self) -> None:
        """Read the pending replies and make the server discard the mail; if that fails, `is_over` stays false."""
        session = self._session
        if self.is_over or not session.socket.is_open:
            return
        with contextlib.suppress(NotSent):  # the original error is the one to report
            while session.pending_replies:
                self._replies.append(session.receive(self._commands[len(self._replies)][0]))
            command = commands.abort_command(self._commands, self._replies)
            if command:
                reply = session.command(Step.RESET, command)
                self.is_over = reply.accepted or (command == "." and reply.refused)
            else:
                self.is_over = command is not None


def _unknown(text: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{text} It may or may not have accepted the mail.")

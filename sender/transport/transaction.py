"""One mail on a connection (RFC 5321 section 3.3), with as few round trips as the server allows (RFC 2920)."""

from __future__ import annotations

import contextlib
import math

from sender.transport import opening
from sender.transport.classify import FOR_NOW, ConnectionSpent, Reply, Step, describe_loss, sentence
from sender.transport.dialogue import Dialogue, before_the_content
from sender.transport.envelope import Envelope, Receipt
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

    def __init__(self, dialogue: Dialogue, pipelining: bool, data_seconds: float, was_used: bool) -> None:
        #: Whether the server is done with the mail, so that another may follow.
        self.is_over = False
        self._dialogue = dialogue
        self._pipelining = pipelining
        self._data_seconds = data_seconds
        self._was_used = was_used
        self._commands: list[opening.Command] = []
        self._replies: list[Reply] = []

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """As `SmtpConnection.send` says."""
        dialogue = self._dialogue
        offers = dialogue.wire.esmtp_features
        try:
            with before_the_content(dialogue.name):
                self._commands = opening.opening(dialogue.name, offers, envelope, data)
                self._open(envelope, deadline.brought_forward(data_margin))
            dialogue.deadline = deadline
            response = self._hand_over(data)
        except NotSent:
            dialogue.deadline = deadline.within(TIDY_SECONDS)
            self._abandon()
            raise
        return opening.receipt(envelope, self._replies[1:], dialogue.shown(response), offers)

    def _open(self, envelope: Envelope, deadline: Deadline) -> None:
        """Say MAIL, RCPT for each recipient and DATA, until the server waits for the content."""
        dialogue = self._dialogue
        dialogue.deadline = deadline.within(deadline.remaining() / 2) if self._was_used else deadline
        for index, (step, _) in enumerate(self._commands):
            if step is Step.DATA and not any(reply.accepted for reply in self._replies[1:]):
                raise self._refused_to_all(envelope)
            if not dialogue.due:
                rest = self._commands[index:] if self._pipelining else self._commands[index : index + 1]
                dialogue.tell(step, opening.group(rest))
            reply = dialogue.hear(step)
            dialogue.deadline = deadline
            if step is Step.DATA:
                self._expect_go_ahead(reply)
            else:
                self._replies.append(reply)
                if not opening.is_expected(step, reply):
                    raise self._refused(step, reply)

    def _expect_go_ahead(self, reply: Reply) -> None:
        """Return if the server waits for the content, and has said nothing else."""
        dialogue = self._dialogue
        if not opening.is_expected(Step.DATA, reply):
            listen = self._pipelining or reply.accepted
            patience = max(0.0, min(SECOND_THOUGHTS, dialogue.deadline.remaining()))
            more = dialogue.timed(Step.DATA, math.inf, lambda: dialogue.wire.more(patience)) if listen else None
            if not more and not reply.accepted:
                self._replies.append(reply)
                raise self._refused(Step.DATA, reply)
        dialogue.timed(Step.DATA, math.inf, dialogue.wire.expect_silence)

    def _refused(self, step: Step, reply: Reply) -> NotSent:
        return self._spent(self._dialogue.refused(step, reply))

    def _refused_to_all(self, envelope: Envelope) -> NotSent:
        replies = self._replies[1:]
        failure = self._dialogue.refused(Step.RCPT, opening.decisive(replies))
        failure.rejected = opening.refused_for_good(envelope, replies)
        failure.retry_after = opening.longest_wait(replies)
        return self._spent(failure) if failure.code in FOR_NOW else failure

    def _spent(self, failure: NotSent) -> NotSent:
        """The failure as one of the connection, if it may be; it is closed then."""
        if not self._was_used or isinstance(failure, ConnectionSpent):
            return failure
        self._dialogue.wire.close()
        return ConnectionSpent.by(failure)

    def _hand_over(self, data: bytes) -> Reply:
        """The content itself. From its first byte on, only a complete reply tells what became of it."""
        wire, name = self._dialogue.wire, self._dialogue.name
        wire.until = self._dialogue.deadline.within(self._data_seconds)
        try:
            wire.put(opening.as_data(data))
            reply = Reply.decode(*wire.getreply())
        except OSError as error:
            wire.close()
            raise _unknown(describe_loss(name, Step.BODY, error)) from error
        self.is_over = True
        if reply.refused:
            raise self._dialogue.refused(Step.BODY, reply)
        if not reply.accepted:
            wire.close()
            said = sentence(str(self._dialogue.shown(reply)))
            raise _unknown(f"The mail server {name} answered {Step.BODY.value} with {said}")
        return reply

    def _abandon(self) -> None:
        """Hear the replies that are due and let the server forget the mail; if that fails, it isn't over."""
        dialogue = self._dialogue
        if self.is_over or not dialogue.wire.is_open:
            return
        with contextlib.suppress(NotSent):  # the reason for which the mail was abandoned is the one to report
            while dialogue.due:
                self._replies.append(dialogue.hear(self._commands[len(self._replies)][0]))
            command = opening.way_out(self._commands, self._replies)
            if command:
                reply = dialogue.say(Step.RESET, command)
                self.is_over = reply.accepted or (command == "." and reply.refused)
            else:
                self.is_over = command is not None


def _unknown(text: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{text} It may have taken the mail over, or not.")

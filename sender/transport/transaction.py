"""One mail on a connection (RFC 5321 section 3.3), with as few round trips as the server allows (RFC 2920)."""

from __future__ import annotations

import contextlib

from sender.transport import opening
from sender.transport.classify import Reply, Step, describe_loss
from sender.transport.dialogue import Dialogue
from sender.transport.envelope import Envelope, Receipt
from shared.deadline import Deadline
from shared.errors import NotSent, OutcomeUnknown


class Transaction:
    """The mail under way: what has been said for it, what the server has answered, and how to get out of it.

    With `pipelining`, MAIL, RCPT and DATA are said in one go, two round trips for the whole mail; without, one by one.
    All else is the same: each reply is judged when its turn comes, as if nothing had been said since.
    """

    def __init__(self, dialogue: Dialogue, pipelining: bool, data_seconds: float) -> None:
        #: Whether the server is done with the mail, so that another may follow.
        self.is_over = False
        self._dialogue = dialogue
        self._pipelining = pipelining
        self._data_seconds = data_seconds
        self._commands: list[opening.Command] = []
        self._replies: list[Reply] = []

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """As `SmtpConnection.send` says."""
        dialogue = self._dialogue
        offers = dialogue.wire.esmtp_features
        dialogue.deadline = deadline.brought_forward(data_margin)
        try:
            self._commands = opening.opening(dialogue.name, offers, envelope, data)
            self._open(envelope)
            dialogue.deadline = deadline
            response = self._hand_over(data)
        except NotSent:
            dialogue.deadline = deadline
            self._abandon()
            raise
        return opening.receipt(envelope, self._replies[1:-1], response, offers)

    def _open(self, envelope: Envelope) -> None:
        """Say MAIL, RCPT for each recipient and DATA, until the server waits for the content."""
        dialogue = self._dialogue
        for index, (step, _) in enumerate(self._commands):
            if step is Step.DATA and not any(reply.accepted for reply in self._replies[1:]):
                raise self._refused_to_all(envelope)
            if not dialogue.due:
                rest = self._commands[index:] if self._pipelining else self._commands[index : index + 1]
                dialogue.tell(step, opening.group(rest))
            reply = dialogue.hear(step)
            self._replies.append(reply)
            if not opening.is_expected(step, reply):
                raise dialogue.refused(step, reply)

    def _refused_to_all(self, envelope: Envelope) -> NotSent:
        replies = self._replies[1:]
        failure = self._dialogue.refused(Step.RCPT, opening.decisive(replies))
        failure.rejected = opening.refused_for_good(envelope, replies)
        return failure

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
            raise _unknown(f"The mail server {name} answered {Step.BODY.value} with {reply}.")
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

"""How a mail is begun: what is said before its content, and what the replies to that come to. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sender.transport.envelope import Envelope, Receipt
from sender.transport.smtp.replies import FOR_NOW, Reply, Step, classify, lacking, wait_after
from shared.errors import ErrorCode, NotSent

#: A command, and the step of the dialogue that it is.
Command = tuple[Step, str]

#: The most that is said ahead of the replies, in bytes. It fits into any socket's send buffer, so that writing it never
#: waits for a server which itself waits for us to read its replies (RFC 2920 section 3.1).
GROUP_BYTES = 8 * 1024

# A regular expression finds these in half the time that `bytes.replace` takes.
_LEADING_DOT = re.compile(rb"\n\.")

#: RFC 1870 section 4: what has more digits limits nothing.
_SIZE = re.compile(r"[0-9]{1,20}")

_NO_DSN = "Field 'message.dsn': the mail server does not offer DSN (RFC 3461), so no notification was asked for."


def opening(server: str, offers: Mapping[str, str], envelope: Envelope, data: bytes) -> list[Command]:
    """MAIL, RCPT for each recipient, and DATA.

    `offers` are the parameters of the server's extensions by their names in small letters, as EHLO told them, `server`
    is its name for people. Raises `NotSent` if the server can't take such a mail.
    """
    mail = " ".join([f"MAIL FROM:<{envelope.sender}>", *_mail_parameters(server, offers, envelope, data)])
    wishes = envelope.dsn.rcpt_parameters() if envelope.dsn and "dsn" in offers else ()
    parameters = "".join([f" {wish}" for wish in wishes])
    recipients = [(Step.RCPT, f"RCPT TO:<{recipient}>{parameters}") for recipient in envelope.recipients]
    return [(Step.MAIL, mail), *recipients, (Step.DATA, "DATA")]


def _mail_parameters(server: str, offers: Mapping[str, str], envelope: Envelope, data: bytes) -> Iterator[str]:
    """What the mail needs and the server offers.

    SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461).
    """
    if "size" in offers:
        limit = offers["size"]
        if _SIZE.fullmatch(limit) and 0 < int(limit) < len(data):
            text = f"The mail has {len(data)} bytes; the mail server {server} takes at most {limit}."
            raise NotSent(ErrorCode.REJECTED, text)
        yield f"SIZE={len(data)}"
    is_ascii = data.isascii()
    if "8bitmime" in offers and not is_ascii:
        yield "BODY=8BITMIME"
    in_a_header = not is_ascii and not data[: max(0, data.find(b"\r\n\r\n"))].isascii()
    if envelope.needs_smtputf8 or in_a_header:
        if "smtputf8" not in offers:
            raise lacking(server, "SMTPUTF8", "which an address outside ASCII needs", ErrorCode.REJECTED)
        yield "SMTPUTF8"
    if envelope.dsn and "dsn" in offers:
        yield from envelope.dsn.mail_parameters()


def group(commands: Iterable[Command]) -> list[str]:
    """The first commands, as many as may be said in one go; at least one."""
    texts: list[str] = []
    size = 0
    for _, text in commands:
        size += len(text.encode()) + 2
        if texts and size > GROUP_BYTES:
            break
        texts.append(text)
    return texts


def is_success(step: Step, reply: Reply) -> bool:
    """Whether the opening goes on after this reply. A recipient may be refused as long as others are not."""
    if step is Step.RCPT:
        return reply.accepted or reply.refused
    return reply.code == 354 if step is Step.DATA else reply.accepted


def most_temporary(refusals: Iterable[Reply]) -> Reply:
    """Of the refusals of all recipients, the one that stands for them: one that may pass, if there is any."""
    return min(refusals, key=lambda reply: (not _may_pass(reply), reply.code))


def longest_wait(replies: Iterable[Reply]) -> float | None:
    """In how many seconds all recipients that are refused for now may be tried again, if the server says so."""
    waits = [wait for reply in replies if reply.refused and (wait := wait_after(Step.RCPT, reply)) is not None]
    return max(waits, default=None)


def _may_pass(refusal: Reply) -> bool:
    return classify(Step.RCPT, refusal) in FOR_NOW


def abort_command(commands: Sequence[Command], replies: Sequence[Reply]) -> str | None:
    """What to say so that the server forgets a mail whose content it was not given.

    "" if there is nothing to forget, None if there is no way. `replies` are those to the first of the `commands`. A
    server may wait for the content although it has accepted no recipient, and a lone dot ends that (RFC 2920 section
    3.1); with a recipient, the dot would send an empty mail.
    """
    answered = list(zip([step for step, _ in commands], replies, strict=False))
    if not all(is_success(step, reply) or reply.refused for step, reply in answered):
        return None
    accepted = {step for step, reply in answered if not reply.refused}
    if Step.DATA in accepted:
        return None if Step.RCPT in accepted else "."
    return "RSET" if Step.MAIL in accepted else ""


def as_data(data: bytes) -> list[bytes]:
    """The mail in pieces: every line's leading dot doubled, and the lone dot that ends it (RFC 5321 section 4.5.2).

    Also after a bare line feed, which some servers take for a line end, so that no text can end the mail early. A mail
    without such dots is not copied.
    """
    first = [b"."] if data.startswith(b".") else []
    last = b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
    return [*first, _LEADING_DOT.sub(b"\n..", data), last]


def receipt(envelope: Envelope, replies: Sequence[Reply], response: Reply, offers: Mapping[str, str]) -> Receipt:
    """What has become of the mail: `replies` are those to RCPT, `response` the one to the content."""
    pairs = list(zip(envelope.recipients, replies, strict=True))
    return Receipt(
        accepted=tuple([who for who, reply in pairs if reply.accepted]),
        rejected=refused_for_good(envelope, replies),
        pending=tuple([who for who, reply in pairs if not reply.accepted and _may_pass(reply)]),
        response=str(response),
        warnings=(_NO_DSN,) if envelope.dsn is not None and "dsn" not in offers else (),
        retry_after=longest_wait(replies),
    )


def refused_for_good(envelope: Envelope, replies: Sequence[Reply]) -> tuple[str, ...]:
    """The recipients whom no later attempt would reach."""
    pairs = zip(envelope.recipients, replies, strict=True)
    return tuple([who for who, reply in pairs if not reply.accepted and not _may_pass(reply)])

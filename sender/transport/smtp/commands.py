"""The commands before a mail's content, and the meaning of the replies to them. Pure functions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sender.transport.envelope import Envelope, Receipt
from sender.transport.smtp.replies import TRANSIENT, Reply, Step, classify, lacking, wait_after
from shared.errors import ErrorCode, NotSent

#: A command, and its step of the dialogue.
Command = tuple[Step, str]

#: The most bytes to send before reading replies. They fit into any socket's send buffer, so that writing never blocks
#: on a server that itself waits for us to read its replies (RFC 2920 section 3.1).
GROUP_BYTES = 8 * 1024

#: The bytes of content that are prepared at a time.
PIECE_BYTES = 256 * 1024

# A regular expression takes half the time of `bytes.replace`.
_LEADING_DOT = re.compile(rb"\n\.")

#: RFC 1870 section 4: at most 20 digits. A longer value is ignored.
_SIZE = re.compile(r"[0-9]{1,20}")

_NO_DSN = "Field 'message.dsn': the mail server does not offer DSN (RFC 3461), so no notification was requested."


def opening(server: str, offers: Mapping[str, str], envelope: Envelope, data: bytes) -> list[Command]:
    """The commands MAIL, RCPT for each recipient, and DATA.

    `offers` maps the server's extensions, in lower case, to their parameters, as EHLO returned them; `server` is its
    name for messages. Raises `NotSent` if the server can't accept such a mail.
    """
    mail = " ".join([f"MAIL FROM:<{envelope.sender}>", *_mail_parameters(server, offers, envelope, data)])
    parameters = envelope.dsn.rcpt_parameters() if envelope.dsn and "dsn" in offers else ()
    suffix = "".join([f" {parameter}" for parameter in parameters])
    recipients = [(Step.RCPT, f"RCPT TO:<{recipient}>{suffix}") for recipient in envelope.recipients]
    return [(Step.MAIL, mail), *recipients, (Step.DATA, "DATA")]


def _mail_parameters(server: str, offers: Mapping[str, str], envelope: Envelope, data: bytes) -> Iterator[str]:
    """The parameters that the mail needs and the server offers.

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
            raise lacking(server, "SMTPUTF8", "which a non-ASCII address needs", ErrorCode.REJECTED)
        yield "SMTPUTF8"
    if envelope.dsn and "dsn" in offers:
        yield from envelope.dsn.mail_parameters()


def group(commands: Iterable[Command]) -> list[str]:
    """The first commands, as many as fit into `GROUP_BYTES`, but at least one."""
    texts: list[str] = []
    size = 0
    for _, text in commands:
        size += len(text.encode()) + 2
        if texts and size > GROUP_BYTES:
            break
        texts.append(text)
    return texts


def is_success(step: Step, reply: Reply) -> bool:
    """Whether to go on after this reply. A refused recipient does not stop the others."""
    if step is Step.RCPT:
        return reply.accepted or reply.refused
    return reply.code == 354 if step is Step.DATA else reply.accepted


def most_temporary(refusals: Iterable[Reply]) -> Reply:
    """The refusal to report if all recipients were refused: a transient one, if there is any."""
    return min(refusals, key=lambda reply: (not _is_transient(reply), reply.code))


def longest_wait(replies: Iterable[Reply]) -> float | None:
    """The longest delay, in seconds, that the server announced for pending recipients; None if it announced none."""
    waits = [wait for reply in replies if reply.refused and (wait := wait_after(Step.RCPT, reply)) is not None]
    return max(waits, default=None)


def _is_transient(refusal: Reply) -> bool:
    return classify(Step.RCPT, refusal) in TRANSIENT


def abort_command(commands: Sequence[Command], replies: Sequence[Reply]) -> str | None:
    """The command that makes the server discard a mail whose content was not sent.

    "" if there is nothing to discard, None if it is impossible. `replies` are those to the first `commands`. A server
    may wait for the content even though it accepted no recipient; a lone dot ends DATA then (RFC 2920 section 3.1).
    With an accepted recipient, the dot would send an empty mail.
    """
    answered = list(zip([step for step, _ in commands], replies, strict=False))
    if not all(is_success(step, reply) or reply.refused for step, reply in answered):
        return None
    accepted = {step for step, reply in answered if not reply.refused}
    if Step.DATA in accepted:
        return None if Step.RCPT in accepted else "."
    return "RSET" if Step.MAIL in accepted else ""


def as_data(data: bytes) -> Iterator[bytes]:
    """The mail with leading dots doubled and the terminating lone dot, in pieces (RFC 5321 section 4.5.2).

    A dot after a bare line feed is doubled, too: some servers treat that as a line end, and the text must not end the
    mail early. A mail without leading dots is not copied, and of another one only a piece at a time.
    """
    first = b"." if data.startswith(b".") else b""
    last = b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n"
    return itertools.chain((first,), _with_doubled_dots(data) if _LEADING_DOT.search(data) else (data,), (last,))


def _with_doubled_dots(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = min(start + PIECE_BYTES, len(data))
        if data[end - 1 : end + 1] == b"\n.":  # the pair must not be torn apart
            end += 1
        yield _LEADING_DOT.sub(b"\n..", data[start:end])
        start = end


def receipt(envelope: Envelope, replies: Sequence[Reply], response: Reply, offers: Mapping[str, str]) -> Receipt:
    """The receipt for an accepted mail; `replies` are those to RCPT, `response` is the one to the content."""
    pairs = list(zip(envelope.recipients, replies, strict=True))
    return Receipt(
        accepted=tuple([recipient for recipient, reply in pairs if reply.accepted]),
        rejected=rejected(envelope, replies),
        pending=tuple([recipient for recipient, reply in pairs if not reply.accepted and _is_transient(reply)]),
        response=str(response),
        warnings=(_NO_DSN,) if envelope.dsn is not None and "dsn" not in offers else (),
        retry_after=longest_wait(replies),
    )


def rejected(envelope: Envelope, replies: Sequence[Reply]) -> tuple[str, ...]:
    """The recipients that the server refused permanently."""
    pairs = zip(envelope.recipients, replies, strict=True)
    return tuple([recipient for recipient, reply in pairs if not reply.accepted and not _is_transient(reply)])

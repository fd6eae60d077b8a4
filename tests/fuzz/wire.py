"""A strict reader of what goes over the wire to a mail server: it accepts less than any server does."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import Message

from sender.transport.envelope import Envelope
from sender.transport.smtp import commands

_USUAL = {
    *(
        "From",
        "To",
        "Cc",
        "Reply-To",
        "Subject",
        "Message-ID",
        "Date",
        "Sender",
        "X-Own",
        "MIME-Version",
        "In-Reply-To",
    ),
    *("References", "X-Priority", "X-MSMail-Priority", "Importance", "Content-Type", "Content-Transfer-Encoding"),
    *("Content-Disposition", "Content-ID", "List-Help", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
}
_OFFERS = {"size": "", "8bitmime": "", "smtputf8": "", "dsn": "", "pipelining": ""}

_LOCAL = r'(?:"(?:[^"\\\0-\x1f\x7f]|\\[^\0-\x1f\x7f])+"|[^\s"<>()\[\]:;@\\,\0-\x1f\x7f]+)'
_DOMAIN = r"(?:[!#-'*+/-9=?A-Z^-~.-]+|\[[0-9.]+\]|\[[A-Za-z0-9-]+:[!-;=?-Z^-~]+\])"
_COMMAND = re.compile(rf"(?:MAIL FROM|RCPT TO):<{_LOCAL}@{_DOMAIN}>(?: [A-Z0-9]+(?:=[!-<>-~]+)?)*|DATA")
_FIELD = re.compile(rb"[!-9;-~]+:(?: ?[^\r\n\0]*)(?:\r\n[ \t][^\r\n\0]*[^\s][^\r\n\0]*)*")
#: What some server or other takes for the end of a mail: https://www.postfix.org/smtp-smuggling.html
_ENDS = (b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\0.\0")


def check_commands(envelope: Envelope, data: bytes) -> None:
    """Each command is one line that has one address and nothing else of the document's."""
    lines = [text for _, text in commands.opening("mx", _OFFERS, envelope, data)]
    assert len(lines) == len(envelope.recipients) + 2
    for line in lines:
        assert _COMMAND.fullmatch(line), line
        assert line.encode()


def check_stream(data: bytes) -> None:
    """The content ends where every server says that it ends, and nowhere before."""
    stream = b"".join(commands.as_data(data))
    assert stream.endswith(b"\r\n.\r\n")
    assert not stream.startswith(b".\r\n")
    for end in _ENDS:
        at = stream.find(end)
        assert at == -1 or at >= len(stream) - len(b"\r\n.\r\n"), end
    unstuffed = re.sub(rb"(\A|\n)\.\.", rb"\1.", stream.removesuffix(b".\r\n"))
    assert unstuffed.rstrip(b"\r\n") == data.rstrip(b"\r\n")


def check_message(data: bytes) -> Message:
    """The mail is well-formed, and has no header besides those that Firepost writes. It is returned, parsed."""
    rest = data.replace(b"\r\n", b"")
    assert not set(rest) & set(b"\r\n\0"), "a bare line end or NUL"
    assert max(map(len, data.split(b"\r\n"))) <= 998
    head, _, _ = data.partition(b"\r\n\r\n")
    names = []
    for field in re.split(rb"\r\n(?![ \t])", head):
        assert _FIELD.fullmatch(field), field
        names.append(field.partition(b":")[0].decode())
    assert all(name in _USUAL or name.startswith("X-") for name in names), names
    repeated = {name for name in names if names.count(name) > 1}
    assert all(name.startswith("X-") for name in repeated), repeated
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    for part in _parts(message):
        assert not part.defects, part.defects
        assert all(name in _USUAL or name.startswith("X-") for name in part), part.keys()
    return message


def _parts(message: Message) -> Iterator[Message]:
    """The mail and its parts, but not those of attached mails, which may be anything."""
    yield message
    if message.get_content_maintype() == "multipart":
        for part in message.get_payload():
            assert isinstance(part, Message)
            yield from _parts(part)

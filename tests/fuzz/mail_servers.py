"""What mail servers reply, over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from sender.transport.envelope import Receipt
from sender.transport.smtp.connection import SmtpConnection
from shared.deadline import Deadline
from shared.errors import NotSent, OutcomeUnknown
from tests.fuzz.generators import Generator, listed, pick, tupled
from tests.fuzz.kind import Check, Kind
from tests.patience import patience
from tests.smtp_server import EXTENSIONS, ScriptedServer
from tests.unit.sender.transport.builders import ANA, BOB, CLEO, DATA, envelope, server_at

_SECONDS = patience(2.0)

_PASSWORD = "hunter2-secret"
_EVENTS = ("CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "RSET", "QUIT")
_LINES = (
    *(
        "250 ok",
        "250-ok",
        "250",
        "220 mx",
        "221 bye",
        "354 go",
        "334 VXNlcm5hbWU6",
        "235 in",
        "251 x",
        "252 x",
        "299 x",
        "200",
    ),
    *(
        "421 4.7.0 busy",
        "450 4.2.0 later",
        "451 x",
        "452 x",
        "454 x",
        "500 x",
        "501 x",
        "530 x",
        "535 bad",
        "550 no",
        "552 full",
        "554 no",
    ),
    *(
        "",
        " ",
        "ok",
        "25",
        "2500 x",
        "250\tx",
        "-1 x",
        "999 x",
        "250 " + "x" * 5000,
        "250-" + "x" * 2000,
        "\0",
        "250 \r",
        "٢٥٠ x",
        "250 ü",
    ),
    *(
        "250 SIZE " + "9" * 5000,
        "250-SIZE 1",
        "250-AUTH PLAIN LOGIN",
        "250 AUTH=" + "A" * 4000,
        "250-STARTTLS",
        "250-PIPELINING",
        "250 SMTPUTF8",
    ),
    *(
        "550-no",
        "250 early\r\n250 early",
        "354 x\r\n250 early",
        f"535 \0user\0{_PASSWORD}",
        "535 AHVzZXIAaHVudGVyMi1zZWNyZXQ=",
    ),
)
_REPLIES: Generator[list[str]] = lambda random: [random.choice(_LINES) for _ in range(random.randint(1, 3))]  # noqa: E731
_RULES = listed(tupled(pick(*_EVENTS), _REPLIES, pick(False, False, True), pick(1, 2, 3)), 3)
_DIALOGUES = tupled(_RULES, pick((ANA,), (ANA, BOB, CLEO)), pick("", "&pipelining=false"), pick(True, False))
#: In milliseconds: a server that says nothing is left after this.
_PATIENCE_MS = 150


@contextlib.contextmanager
def _mail_servers() -> Iterator[Check]:
    with ScriptedServer(users={"user": _PASSWORD}) as smtp:

        def check(
            given: tuple[list[tuple[str, list[str], bool, int]], tuple[str, ...], str, bool],
        ) -> None:
            rules, recipients, options, together = given
            smtp.reset()
            smtp.replies_together, smtp.extensions = together, EXTENSIONS
            for event, lines, drops, nth in rules:
                rule = smtp.when(event, nth_in_session=nth).reply(*lines)
                if drops:
                    rule.drop()
            before, accepted = len(smtp.mails), len(smtp.accepted)
            outcome = _sent(smtp, recipients, options)
            arrived, taken = len(smtp.mails) - before, len(smtp.accepted) - accepted
            assert _PASSWORD not in str(outcome)
            assert "aHVudGVyMi1zZWNyZXQ" not in str(outcome)
            assert len(str(outcome)) < 10_000
            match outcome:
                case Receipt():
                    assert outcome.accepted
                    every = (*outcome.accepted, *outcome.rejected, *outcome.pending)
                    assert sorted(every) == sorted(recipients)
                    assert arrived == 1
                case NotSent():
                    assert not taken, "an accepted mail was reported as not sent"
                case OutcomeUnknown():
                    assert arrived <= 1
                case _:
                    raise outcome

        yield check


def _sent(smtp: ScriptedServer, recipients: tuple[str, ...], options: str) -> Receipt | Exception:
    """The receipt of one mail over a new connection, or the error."""
    server = server_at(
        smtp, f"?socketTimeout={_PATIENCE_MS}&greetingTimeout={_PATIENCE_MS}{options}", login=f"user:{_PASSWORD}"
    )
    try:
        connection = SmtpConnection(server, Deadline.after(_SECONDS))
        try:
            return connection.send(envelope(*recipients), DATA, Deadline.after(_SECONDS), 0)
        finally:
            connection.close()
    except (NotSent, OutcomeUnknown) as error:
        return error


KINDS: Final = (
    Kind(
        "replies of mail servers",
        "each recipient has one outcome; no accepted mail counts as not sent; no password is shown",
        _DIALOGUES,
        _mail_servers,
        few=50,
    ),
)

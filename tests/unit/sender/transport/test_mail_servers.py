"""Real-world mail servers: connections that are kept open, unusual and malicious servers.

Each test runs without TLS, with STARTTLS and with implicit TLS, and with and without PIPELINING.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from sender.transport.envelope import Receipt
from sender.transport.smtp.config import SmtpServer
from sender.transport.smtp.pool import KeepOpen
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.errors import ErrorCode, NotSent, OutcomeUnknown
from tests.smtp_server import EXTENSIONS, PATIENCE, ScriptedServer, without
from tests.unit.sender.transport.builders import ANA, BOB, CLEO, DATA, envelope, server_at, soon
from tests.unit.sender.transport.conftest import StartServer

pytestmark = pytest.mark.usefixtures("extra_replies_come_at_once")

LIMITS = SmtpLimits(data_margin=0.0, keep_open=KeepOpen(max_idle=60))
PASSWORD = "p@ss/wörd+17"
LOGIN = f"ana@example.com:{PASSWORD}"


@pytest.fixture(params=["plain", "STARTTLS", "TLS"])
def smtp(request: pytest.FixtureRequest, start_server: StartServer, server_tls: ssl.SSLContext) -> ScriptedServer:
    tls = None if request.param == "plain" else server_tls
    return start_server(tls=tls, implicit=request.param == "TLS")


@pytest.fixture(params=[EXTENSIONS, without("PIPELINING")], ids=["pipelining", "step by step"], autouse=True)
def _extensions(request: pytest.FixtureRequest, smtp: ScriptedServer) -> None:
    smtp.extensions = request.param


@pytest.fixture
def transport(smtp: ScriptedServer) -> Iterator[SmtpTransport]:
    transport = SmtpTransport(settings_for(smtp), LIMITS)
    yield transport
    transport.close()


def settings_for(smtp: ScriptedServer, options: str = "", login: str = "") -> SmtpServer:
    return server_at(smtp, options, login=login, host="localhost")


def send(transport: SmtpTransport, *recipients: str, seconds: float = 5.0) -> Receipt:
    return transport.send(envelope(*recipients), DATA, soon(seconds))


def sessions_used(smtp: ScriptedServer) -> list[int]:
    return [mail.session for mail in smtp.accepted]


FAREWELLS = [
    "451 4.4.2 Timeout waiting for data from client.",  # Amazon SES
    "451 4.4.2 Timeout - closing connection",  # Gmail
    "421 4.4.2 Error: timeout exceeded",
    "452 4.4.2 Idle for too long",
    "500 Idle",
    "554 5.4.0 Session over",
    "221 2.0.0 Bye",
    "250 2.0.0 Ok",
    "354 Go ahead",
]


class TestAKeptConnection:
    @pytest.mark.parametrize("farewell", [*FAREWELLS, ""])
    @pytest.mark.parametrize("manner", ["hangs up", "resets", "stays"])
    def test_on_which_the_server_has_said_goodbye_is_not_used(
        self, smtp: ScriptedServer, transport: SmtpTransport, farewell: str, manner: str
    ) -> None:
        if manner == "stays" and not farewell:
            pytest.skip("nothing happens")
        send(transport, ANA)
        rule = smtp.when("BODY", nth=2).reply("250 2.0.0 Ok: queued")
        idle = rule.stall()
        if farewell:
            rule.reply(farewell)
        said = rule.stall()
        if manner != "stays":
            rule.drop() if manner == "hangs up" else rule.reset()
        send(transport, ANA)
        idle.release()
        assert said.reached.wait(PATIENCE)
        said.release()
        session = smtp.sessions[0]
        if manner != "stays":
            smtp.wait_until(lambda: session.ended)
        assert send(transport, BOB).accepted == (BOB,)
        assert sessions_used(smtp) == [1, 1, 2]
        assert not any(BOB in command for command in session.commands)

    @pytest.mark.parametrize("event", ["MAIL", "DATA"])
    @pytest.mark.parametrize("reply", FAREWELLS[:6])
    def test_that_accepts_no_more_mails_is_replaced_once(
        self, smtp: ScriptedServer, transport: SmtpTransport, event: str, reply: str
    ) -> None:
        smtp.when(event, nth_in_session=3).reply(reply)
        for _ in range(5):
            assert send(transport).accepted == (ANA,)
        assert sessions_used(smtp) == [1, 1, 2, 2, 3]

    def test_that_temporarily_refuses_all_recipients_is_replaced_once(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        smtp.when("RCPT", session=1, nth_in_session=2).reply("452 4.5.3 Too many recipients in this session")
        smtp.when("RCPT", session=1, nth_in_session=3).reply("550 5.7.1 Session rate limit exceeded")
        send(transport)
        assert send(transport, ANA, BOB).accepted == (ANA, BOB)
        assert sessions_used(smtp) == [1, 2]

    def test_that_permanently_refuses_recipients_stays(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("RCPT", BOB).reply("550 5.1.1 No such user")
        send(transport)
        with pytest.raises(NotSent, match="No such user"):
            send(transport, BOB)
        send(transport)
        assert sessions_used(smtp) == [1, 1]

    @pytest.mark.parametrize("event", ["MAIL", "RCPT", "DATA"])
    def test_is_replaced_by_one_whose_reply_is_final(
        self, smtp: ScriptedServer, transport: SmtpTransport, event: str
    ) -> None:
        send(transport)
        smtp.when(event, session=1).reply("451 4.3.0 Not here")
        smtp.when(event, session=2).reply("451 4.7.1 Hourly sending quota exceeded")
        with pytest.raises(NotSent, match="Hourly") as caught:
            send(transport)
        assert caught.value.code is ErrorCode.THROTTLED
        assert len(smtp.sessions) == 2
        assert len(smtp.mails) == 1

    @pytest.mark.parametrize("reply", ["451 4.3.0 Later", "554 5.6.0 No", "454 Throttling failure"])
    def test_gets_the_content_only_once_whatever_the_reply(
        self, smtp: ScriptedServer, transport: SmtpTransport, reply: str
    ) -> None:
        send(transport)
        smtp.when("BODY").reply(reply)
        with pytest.raises(NotSent, match=reply):
            send(transport)
        assert len(smtp.mails) == 2

    def test_that_is_silent_leaves_half_of_the_time_for_its_replacement(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        send(transport)
        smtp.when("MAIL", session=1).stall()
        assert send(transport, BOB, seconds=0.6).accepted == (BOB,)
        assert sessions_used(smtp) == [1, 2]


class TestOddServers:
    def test_data_may_be_answered_with_250(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("DATA").reply("250 OK")
        assert send(transport).accepted == (ANA,)
        assert smtp.accepted[0].data == DATA

    def test_recipients_beyond_its_limit_stay_pending(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("RCPT", BOB).reply("552 5.5.3 Too many recipients")
        smtp.when("RCPT", CLEO).reply("552 5.2.2 Mailbox full")
        receipt = send(transport, ANA, BOB, CLEO)
        assert (receipt.accepted, receipt.pending, receipt.rejected) == ((ANA,), (BOB,), (CLEO,))

    def test_the_announced_wait_for_pending_recipients_is_read(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        smtp.when("RCPT", BOB).reply("450 4.2.0 Greylisted, please try again in 300 seconds")
        assert send(transport, ANA, BOB).retry_after == 300
        with pytest.raises(NotSent, match="Greylisted") as caught:
            send(transport, BOB)
        assert (caught.value.code, caught.value.retry_after) == (ErrorCode.TEMPORARY, 300)

    @pytest.mark.parametrize("line", ["AUTH=LOGIN", "AUTH=PLAIN LOGIN", "auth=cram-md5 plain"])
    def test_logins_may_be_offered_in_the_old_form(self, smtp: ScriptedServer, line: str) -> None:
        smtp.users, smtp.mechanisms, smtp.extensions = {"ana@example.com": PASSWORD}, (), (*smtp.extensions, line)
        transport = SmtpTransport(settings_for(smtp, login=LOGIN), LIMITS)
        assert send(transport).accepted == (ANA,)
        transport.close()

    @pytest.mark.parametrize(
        ("mechanisms", "words"),
        [(None, "take the user out of SMTP_CONNECTION_URI"), (("CRAM-MD5",), "but only CRAM-MD5. Another port")],
    )
    def test_no_mail_is_sent_without_the_configured_login(
        self, smtp: ScriptedServer, mechanisms: tuple[str, ...] | None, words: str
    ) -> None:
        if mechanisms:
            smtp.users, smtp.mechanisms = {"ana@example.com": PASSWORD}, mechanisms
        transport = SmtpTransport(settings_for(smtp, login=LOGIN), LIMITS)
        with pytest.raises(NotSent, match=words) as caught:
            send(transport)
        assert caught.value.code is ErrorCode.AUTH
        assert not any(command.startswith("MAIL") for command in smtp.commands)


class TestMaliciousServers:
    @pytest.mark.parametrize("event", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize(
        "reply",
        [
            pytest.param(("250-Ok", "550 No"), id="different codes"),
            pytest.param(("550-No", "220 Hi"), id="different codes, the other way round"),
            pytest.param(("2" * 5000 + " Ok",), id="5,000 digits"),
            pytest.param(("",), id="nothing"),
            pytest.param(("250 \0\x1b[2J",), id="control characters, and unexpected"),
        ],
    )
    def test_an_invalid_reply_before_the_content_is_never_unknown(
        self, smtp: ScriptedServer, transport: SmtpTransport, event: str, reply: tuple[str, ...]
    ) -> None:
        smtp.when(event).reply(*reply)
        try:
            receipt = send(transport, seconds=2)
        except NotSent as failure:
            assert failure.code in (ErrorCode.CONNECTION, ErrorCode.REJECTED)
            assert smtp.mails == []
        else:
            assert receipt.accepted == (ANA,)

    @pytest.mark.parametrize("size", ["9" * 5000, "-1", "1e3", "٣", "0x10", ""])
    def test_an_invalid_size_is_ignored(self, smtp: ScriptedServer, transport: SmtpTransport, size: str) -> None:
        smtp.extensions = tuple(f"SIZE {size}" if name.startswith("SIZE") else name for name in smtp.extensions)
        assert send(transport).accepted == (ANA,)

    def test_a_reply_sent_before_the_content_is_not_accepted(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        smtp.replies_together = True
        smtp.when("DATA").reply("354 Go ahead", "250 2.0.0 Ok: queued")
        with pytest.raises(NotSent, match="sent something before the command") as caught:
            send(transport)
        assert caught.value.code is ErrorCode.CONNECTION
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        assert smtp.mails == []

    def test_an_extra_reply_does_not_shift_the_others(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.replies_together = True
        smtp.when("RCPT", ANA).reply("250 2.1.5 Ok", "550 5.1.1 No")
        with pytest.raises(NotSent):
            send(transport, ANA, BOB)
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        assert smtp.mails == []

    def test_different_codes_after_the_content_are_unknown(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        smtp.when("BODY").reply("250-Ok", "550 No")
        with pytest.raises(OutcomeUnknown, match="different codes"):
            send(transport)


ECHOES = {
    "plain": PASSWORD,
    "base64": base64.b64encode(PASSWORD.encode()).decode(),
    "AUTH PLAIN": base64.b64encode(f"\0ana@example.com\0{PASSWORD}".encode()).decode(),
    "half of AUTH PLAIN": base64.b64encode(f"\0ana@example.com\0{PASSWORD}".encode()).decode()[:20],
    "base64 of more": base64.b64encode(f"password={PASSWORD}!".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"xx{PASSWORD}".encode()).decode(),
    "percent-encoded": quote(PASSWORD, safe=""),
    "percent-encoded as in a path": quote(PASSWORD),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("event", ["AUTH", "MAIL", "BODY"])
def test_secrets_that_a_server_echoes_are_masked(smtp: ScriptedServer, event: str, echo: str) -> None:
    smtp.users = {"ana@example.com": PASSWORD}
    smtp.when(event).reply(f"535-5.7.8 Bad: {echo} {'x' * 1990}", f"535 5.7.8 ({echo}) " * 500)
    transport = SmtpTransport(settings_for(smtp, login=LOGIN), LIMITS)
    with pytest.raises(NotSent) as caught:
        send(transport)
    transport.close()
    assert echo not in str(caught.value)
    assert "5.7.8 Bad: ***" in str(caught.value)
    assert len(str(caught.value)) < 2400


def test_secrets_in_a_receipt_are_masked(smtp: ScriptedServer) -> None:
    smtp.users = {"ana@example.com": PASSWORD}
    smtp.when("BODY").reply(*[f"250-{PASSWORD} queued"] * 500, "250 Ok")
    transport = SmtpTransport(settings_for(smtp, login=LOGIN), LIMITS)
    response = send(transport).response
    transport.close()
    assert response.startswith("250-*** queued\n")
    assert PASSWORD not in response
    assert len(response) <= 2000


@pytest.mark.parametrize("event", ["AUTH", "MAIL"])
@pytest.mark.parametrize(("words", "end"), [("No", "No. "), ("No.", "No. "), ("No!", "No! ")])
def test_a_full_stop_separates_the_servers_words_from_the_advice(
    smtp: ScriptedServer, event: str, words: str, end: str
) -> None:
    smtp.users = {"ana@example.com": PASSWORD}
    smtp.when(event).reply(f"535 5.7.8 {words}")
    transport = SmtpTransport(settings_for(smtp, login=LOGIN), LIMITS)
    with pytest.raises(NotSent, match=f"535 5.7.8 {end}Check"):
        send(transport)
    transport.close()

"""The transport as the sender uses it: many mails, few connections."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from local.waiting import wait_until
from sender.transport.breaker import BreakerRules
from sender.transport.envelope import Receipt, Transport
from sender.transport.smtp.pool import KeepOpen
from sender.transport.smtp.socket import SmtpSocket
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.errors import Deferred, ErrorCode, NotSent, Outage, OutcomeUnknown
from tests.patience import patience
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import ANA, BOB, DATA, envelope, server_at, soon
from tests.unit.sender.transport.conftest import EITHER_WAY, StartServer

LIMITS = SmtpLimits(max_connections=3, data_margin=0.05)


@pytest.fixture(params=EITHER_WAY)
def smtp(request: pytest.FixtureRequest, start_server: StartServer) -> ScriptedServer:
    return start_server(extensions=request.param)


@pytest.fixture
def transport(smtp: ScriptedServer) -> Iterator[SmtpTransport]:
    transport = SmtpTransport(server_at(smtp), LIMITS)
    yield transport
    transport.close()


def send(transport: Transport, recipient: str = ANA, seconds: float = 5.0) -> Receipt:
    return transport.send(envelope(recipient), DATA, soon(seconds))


def sessions_used(smtp: ScriptedServer) -> list[int]:
    return [mail.session for mail in smtp.accepted]


def test_nothing_is_connected_before_the_first_mail(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    assert smtp.sessions == []


def test_a_connection_is_kept_open_and_used_again_without_a_probe(
    smtp: ScriptedServer, transport: SmtpTransport
) -> None:
    for _ in range(3):
        assert send(transport).accepted == (ANA,)
    assert sessions_used(smtp) == [1, 1, 1]
    assert [command.split(" ")[0] for command in smtp.commands] == ["EHLO", *["MAIL", "RCPT", "DATA"] * 3]


def test_a_refused_mail_does_not_close_the_connection(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    smtp.when("RCPT", BOB).reply("550 5.1.1 No such user")
    send(transport)
    with pytest.raises(NotSent, match=r"550 5\.1\.1"):
        send(transport, BOB)
    send(transport)
    assert sessions_used(smtp) == [1, 1]


def test_an_idle_connection_closed_by_the_server_is_replaced(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    send(transport)
    smtp.sessions[0].hang_up()
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert send(transport, BOB).accepted == (BOB,)
    assert sessions_used(smtp) == [1, 2]


@pytest.mark.parametrize("event", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("manner", ["drop", "421", "silence"])
def test_a_kept_connection_that_fails_before_the_content_is_replaced_once(
    smtp: ScriptedServer, event: str, manner: str
) -> None:
    transport = SmtpTransport(server_at(smtp, "?socketTimeout=150"), LIMITS)
    rule = smtp.when(event, nth=2)
    if manner == "421":
        rule.reply("421 4.4.2 Idle for too long")
    if manner == "silence":
        rule.stall()
    else:
        rule.drop()
    send(transport)
    assert send(transport, BOB).accepted == (BOB,)
    assert sessions_used(smtp) == [1, 2]
    transport.close()


def test_a_failure_of_the_replacement_is_reported(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    send(transport)
    smtp.when("MAIL").reply("421 4.7.0 Too busy").drop()
    with pytest.raises(NotSent, match=r"421 4\.7\.0") as caught:
        send(transport)
    assert caught.value.code is ErrorCode.THROTTLED
    assert len(smtp.sessions) == 2


def test_a_failure_on_a_new_connection_is_reported_and_not_retried(
    smtp: ScriptedServer, transport: SmtpTransport
) -> None:
    smtp.when("MAIL").drop()
    with pytest.raises(NotSent):
        send(transport)
    assert len(smtp.sessions) == 1


def test_a_mail_is_never_sent_again_once_its_content_is_started(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    send(transport)
    smtp.when("BODY", nth=2).drop()
    with pytest.raises(OutcomeUnknown):
        send(transport)
    assert len(smtp.mails) == 2
    send(transport)
    assert sessions_used(smtp) == [1, 2]


def test_421_to_the_content_is_reported_and_not_retried(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    send(transport)
    smtp.when("BODY", nth=2).reply("421 4.7.0 Too busy").drop()
    with pytest.raises(NotSent):
        send(transport)
    assert len(smtp.mails) == 2


def test_the_number_of_connections_is_limited(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    smtp.when("BODY").pause(0.02)
    with ThreadPoolExecutor(12) as threads:
        receipts = list(threads.map(lambda _: send(transport), range(24)))
    assert [receipt.accepted for receipt in receipts] == [(ANA,)] * 24
    assert len(smtp.sessions) == LIMITS.max_connections


def test_the_uri_may_set_lower_limits(smtp: ScriptedServer) -> None:
    transport = SmtpTransport(server_at(smtp, "?maxConnections=1&maxMessages=2"), LIMITS)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: send(transport), range(5)))
    assert sessions_used(smtp) == [1, 1, 2, 2, 3]
    transport.close()


@pytest.mark.parametrize(
    ("turn_seconds", "attempt_seconds"),
    [pytest.param(0.1, 60.0, id="turn-seconds"), pytest.param(60.0, 0.2, id="attempt-deadline")],
)
def test_a_mail_that_waits_too_long_for_a_connection_is_deferred(
    smtp: ScriptedServer, turn_seconds: float, attempt_seconds: float
) -> None:
    limits = SmtpLimits(max_connections=1, data_margin=0.05, turn_seconds=turn_seconds)
    transport = SmtpTransport(server_at(smtp), limits)
    stall = smtp.when("BODY").stall()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(send, transport)
        assert stall.reached.wait(patience(5))
        start = time.monotonic()
        with pytest.raises(Deferred, match="are busy") as caught:
            send(transport, seconds=attempt_seconds)
        assert time.monotonic() - start < 2
        assert caught.value.seconds == turn_seconds
        stall.release()
        assert first.result(5).accepted == (ANA,)
    transport.close()


def test_every_failure_frees_the_connections_slot(smtp: ScriptedServer) -> None:
    transport = SmtpTransport(server_at(smtp), SmtpLimits(max_connections=1, data_margin=0.0))
    for event in ("CONNECT", "EHLO", "MAIL", "DATA", "BODY"):
        smtp.when(event).drop()
        with pytest.raises((NotSent, OutcomeUnknown)):
            send(transport)
        smtp.forget_rules()
    assert send(transport, seconds=1).accepted == (ANA,)
    transport.close()


def test_close_sends_quit_and_lets_running_mails_end(smtp: ScriptedServer, transport: SmtpTransport) -> None:
    send(transport)
    stall = smtp.when("BODY", nth=2).stall()
    running = threading.Thread(target=send, args=(transport, BOB))
    running.start()
    assert stall.reached.wait(patience(5))
    transport.close()
    assert smtp.commands.count("QUIT") == 0
    stall.release()
    running.join(patience(5))
    smtp.wait_until(lambda: smtp.commands.count("QUIT") == 1)
    assert len(smtp.accepted) == 2


def test_a_connection_that_reached_its_mail_limit_is_closed_with_quit(smtp: ScriptedServer) -> None:
    transport = SmtpTransport(server_at(smtp), SmtpLimits(keep_open=KeepOpen(max_mails=1), data_margin=0.0))
    send(transport)
    smtp.wait_until(lambda: "QUIT" in smtp.sessions[0].commands)


def test_sending_the_password_without_tls_is_warned_about_once(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    smtp = start_server(users={"ana": "s3cret"})
    monkeypatch.setattr(SmtpSocket, "exposed", True)  # the scripted server is on this machine
    transport = SmtpTransport(server_at(smtp, "?maxMessages=1", login="ana:s3cret"), LIMITS)
    with caplog.at_level(logging.WARNING):
        send(transport)
        send(transport)
    assert caplog.messages == ["the password was sent without TLS"]
    assert len(smtp.sessions) == 2


def test_nothing_private_is_logged(
    smtp: ScriptedServer, transport: SmtpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        send(transport)
        smtp.sessions[0].hang_up()
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        send(transport)
    assert caplog.messages == ["connected", "connected"]
    assert not any(ANA in str(vars(record)) for record in caplog.records)


class TestBegin:
    """What is called before the server gets any of the mail."""

    @pytest.mark.parametrize("kept", [False, True], ids=["a fresh connection", "a kept one"])
    def test_it_is_called_when_the_connection_is_ready(
        self, smtp: ScriptedServer, transport: SmtpTransport, kept: bool
    ) -> None:
        if kept:
            send(transport, BOB)
        seen: list[list[str]] = []
        transport.send(envelope(ANA), DATA, soon(), lambda: seen.append([each[:4] for each in smtp.commands]))
        assert [commands[-1] for commands in seen] == ["DATA" if kept else "EHLO"]

    def test_it_is_called_once_if_a_dead_connection_is_replaced(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        send(transport, BOB)
        smtp.sessions[0].hang_up()
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        calls: list[int] = []
        assert transport.send(envelope(ANA), DATA, soon(), lambda: calls.append(1)).accepted == (ANA,)
        assert (sessions_used(smtp), calls) == ([1, 2], [1])

    def test_it_is_not_called_if_there_is_no_connection(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("EHLO").reply("554 5.7.1 Go away")
        smtp.when("HELO").reply("554 5.7.1 Go away")
        with pytest.raises(NotSent):
            transport.send(envelope(ANA), DATA, soon(), lambda: pytest.fail("called"))

    def test_if_it_refuses_the_server_gets_nothing_and_the_connection_is_kept(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        def refuse() -> None:
            raise Deferred(None, "no")

        with pytest.raises(Deferred, match="no"):
            transport.send(envelope(ANA), DATA, soon(), refuse)
        send(transport, BOB)
        assert [mail.recipients for mail in smtp.accepted] == [(BOB,)]
        assert sessions_used(smtp) == [1]


class TestOutages:
    """What keeps a session from being opened is not the mail's failure."""

    @pytest.mark.parametrize(
        ("event", "reply", "code"),
        [
            ("CONNECT", None, ErrorCode.CONNECTION),
            ("CONNECT", "421 4.3.2 Too many connections", ErrorCode.THROTTLED),
            ("CONNECT", "450 4.3.2 Not now", ErrorCode.TEMPORARY),
            ("CONNECT", "554 5.7.1 Your address is blocked", ErrorCode.REJECTED),
            ("AUTH", "535 5.7.8 Wrong password", ErrorCode.AUTH),
        ],
    )
    def test_a_server_that_opens_no_session_is_out(
        self, start_server: StartServer, event: str, reply: str | None, code: ErrorCode
    ) -> None:
        smtp = start_server(users={"ana": "s3cret"})
        rule = smtp.when(event)
        rule.drop() if reply is None else rule.reply(reply)
        with closing(SmtpTransport(server_at(smtp, login="ana:s3cret"), LIMITS)) as transport:
            with pytest.raises(Outage) as caught:
                send(transport)
            assert caught.value.code is code
            smtp.forget_rules()
            assert send(transport).accepted == (ANA,)

    def test_so_is_one_that_nobody_can_reach(self) -> None:
        with ScriptedServer() as gone:
            server = server_at(gone)
        with closing(SmtpTransport(server, LIMITS)) as transport, pytest.raises(Outage, match="nothing listens there"):
            send(transport)

    def test_so_is_one_that_goes_away_after_a_mail(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        send(transport)
        smtp.when("CONNECT").drop()
        smtp.when("MAIL").drop()
        with pytest.raises(Outage):
            send(transport, BOB)

    def test_an_attempt_without_time_left_says_nothing_about_the_server(
        self, smtp: ScriptedServer, transport: SmtpTransport
    ) -> None:
        with pytest.raises(NotSent, match="time ran out") as caught:
            send(transport, seconds=0.0)
        assert not isinstance(caught.value, Outage)

    def test_a_connection_lost_in_a_mail_is_not_an_outage(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("MAIL").drop()
        with pytest.raises(NotSent) as caught:
            send(transport)
        assert not isinstance(caught.value, Outage)

    def test_few_connections_are_tried_however_many_mails_there_are(self, smtp: ScriptedServer) -> None:
        smtp.when("CONNECT").drop()
        limits = replace(LIMITS, breaker=BreakerRules(first_pause=0.2, longest_pause=0.2))
        with closing(SmtpTransport(server_at(smtp), limits)) as transport, ThreadPoolExecutor(20) as threads:
            failures = list(threads.map(lambda _: self.failure(transport), range(500)))
        assert all(isinstance(failure, Outage) for failure in failures)
        assert len(smtp.sessions) < 3 + LIMITS.max_connections + 20

    def failure(self, transport: SmtpTransport) -> Exception | None:
        try:
            send(transport)
        except Exception as error:
            return error
        return None


class TestConnectionLimit:
    """A server that allows few connections: their number is found out, and no mail fails for it."""

    @pytest.mark.parametrize(
        ("allowed", "mails", "reply"),
        [
            (1, 50, "421 4.3.2 Too many connections"),
            (3, 100, "432 4.3.2 Concurrent connections limit exceeded"),
            (7, 200, "421 4.3.2 Too many connections"),
            (7, 200, None),
        ],
    )
    def test_mails_wait_for_the_connections_that_the_server_takes(
        self, smtp: ScriptedServer, allowed: int, mails: int, reply: str | None
    ) -> None:
        smtp.allow(allowed, reply)
        smtp.when("BODY").pause(0.01)
        limits = replace(LIMITS, max_connections=20)
        with closing(SmtpTransport(server_at(smtp), limits)) as transport, ThreadPoolExecutor(24) as threads:
            receipts = list(threads.map(lambda _: send(transport), range(mails)))
            assert [receipt.accepted for receipt in receipts] == [(ANA,)] * mails
            assert transport.capacity(0) == allowed
        assert sum(session.is_surplus for session in smtp.sessions) < 20

    def test_a_mail_that_is_refused_for_that_waits_for_another_connection(self, smtp: ScriptedServer) -> None:
        smtp.when("BODY").pause(0.01)
        with closing(SmtpTransport(server_at(smtp), LIMITS)) as transport, ThreadPoolExecutor(9) as threads:
            list(threads.map(lambda _: send(transport), range(30)))
            assert transport.capacity(0) == 3
            stall = smtp.when("BODY", BOB).stall()
            other = threads.submit(send, transport, BOB)
            assert stall.reached.wait(patience(5))
            for nth in (32, 33):  # over a kept connection, and over the fresh one in its place
                smtp.when("MAIL", nth=nth).reply("432 4.3.2 sender thread limit exceeded")
            turned_away = threads.submit(send, transport)
            assert wait_until(lambda: transport.capacity(0) == 1, patience(5))
            stall.release()
            assert other.result(5).accepted == (BOB,)
            assert turned_away.result(5).accepted == (ANA,)

    def test_an_outage_is_not_taken_for_a_limit(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("BODY").pause(0.01)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: send(transport), range(30)))
            assert transport.capacity(0) == 3
            smtp.when("CONNECT").drop()
            smtp.when("MAIL").drop()
            with pytest.raises(Outage):
                send(transport)
            with pytest.raises(Outage):
                send(transport)
            smtp.forget_rules()
            smtp.when("BODY").pause(0.01)
            list(threads.map(lambda _: send(transport), range(30)))
            assert transport.capacity(0) == 3

    def test_alone_it_meets_an_outage(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("MAIL").reply("432 4.3.2 sender thread limit exceeded")
        with pytest.raises(Outage):
            send(transport)

    def test_after_the_content_it_is_an_outage(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        smtp.when("BODY").reply("432 4.3.2 sender thread limit exceeded")
        with pytest.raises(Outage):
            send(transport)
        assert len(smtp.mails) == 1

    def test_throttled_mails_lower_it(self, smtp: ScriptedServer, transport: SmtpTransport) -> None:
        assert transport.capacity(0) == 2
        smtp.when("RCPT").reply("450 4.7.1 Slow down")
        with pytest.raises(NotSent):
            send(transport)
        assert transport.capacity(0) == 1

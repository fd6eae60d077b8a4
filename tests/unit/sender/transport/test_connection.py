"""One SMTP session against a real server: the dialogue, and the result of a mail for every kind of reply."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from sender.document.dsn import Dsn
from sender.transport.envelope import Receipt
from sender.transport.smtp.connection import SmtpConnection
from sender.transport.smtp.replies import ConnectionSpent
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSent, OutcomeUnknown
from tests.patience import patience
from tests.smtp_server import EXTENSIONS, ScriptedServer, without
from tests.unit.sender.transport.builders import ANA, BOB, CLEO, DATA, connect, envelope, server_at, soon
from tests.unit.sender.transport.conftest import EITHER_WAY, StartServer


@pytest.fixture(params=EITHER_WAY)
def smtp(request: pytest.FixtureRequest, start_server: StartServer) -> ScriptedServer:
    """With and without pipelining: only the number of round trips may differ."""
    return start_server(extensions=request.param)


def send(
    smtp: ScriptedServer, *recipients: str, data: bytes = DATA, seconds: float = 5.0, margin: float = 0.0
) -> Receipt:
    """Send one mail over its own connection."""
    connection = connect(server_at(smtp))
    try:
        return connection.send(envelope(*recipients), data, soon(seconds), margin)
    finally:
        connection.close()


def test_a_mail_arrives_unchanged(smtp: ScriptedServer) -> None:
    receipt = send(smtp, ANA, BOB)
    assert receipt == Receipt((ANA, BOB), (), (), "250 2.0.0 Ok: queued")
    [mail] = smtp.accepted
    assert (mail.sender, mail.recipients, mail.data) == ("shop@example.com", (ANA, BOB), DATA)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b".\r\n", id="a lone dot"),
        pytest.param(b".a\r\n..b\r\n.\r\n.\r\nc\r\n", id="dots at the start of lines"),
        pytest.param(b"a\n.\nb\n.\r\nc\r\n", id="bare line feeds around dots"),
        pytest.param("Grüße\r\n".encode(), id="eight bits"),
        pytest.param(bytes(range(256)).replace(b"\r\n", b"") + b"\r\n", id="every byte"),
        pytest.param(b"x" * 70 + b"\r\n" + b"0123456789\r\n" * 100_000, id="1.2 MB"),
    ],
)
def test_every_byte_survives(smtp: ScriptedServer, data: bytes) -> None:
    send(smtp, data=data)
    received = smtp.accepted[0].data
    # A dot after a bare line feed stays doubled, so that it can't end the mail.
    assert received == data.replace(b"\n.", b"\n..").replace(b"\r\n..", b"\r\n.")


def test_a_missing_line_end_is_added(smtp: ScriptedServer) -> None:
    send(smtp, data=b"no end")
    assert smtp.accepted[0].data == b"no end\r\n"


def test_recipients_are_sorted_by_the_servers_answers(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", BOB).reply("550 5.1.1 No such user")
    smtp.when("RCPT", CLEO).reply("450-4.2.0 Greylisted", "450 4.2.0 Try later")
    smtp.when("BODY").reply("250-2.0.0 Ok", "250 2.0.0 queued as 4F2")
    receipt = send(smtp, BOB, ANA, CLEO)
    assert receipt == Receipt((ANA,), (BOB,), (CLEO,), "250-2.0.0 Ok\n250 2.0.0 queued as 4F2")
    assert smtp.accepted[0].recipients == (ANA,)


@pytest.mark.parametrize(
    ("event", "reply", "code", "text"),
    [
        ("MAIL", "550 5.7.1 Not you", ErrorCode.REJECTED, "refused the sender (MAIL FROM): 550 5.7.1 Not you"),
        ("MAIL", "451 4.3.0 Later", ErrorCode.TEMPORARY, "refused the sender (MAIL FROM): 451 4.3.0 Later"),
        ("RCPT", "550 5.1.1 Unknown", ErrorCode.REJECTED, "refused the recipients (RCPT TO): 550 5.1.1 Unknown"),
        ("DATA", "451 4.3.0 Later", ErrorCode.TEMPORARY, "refused the start of the mail (DATA): 451 4.3.0 Later"),
        ("DATA", "554 5.5.1 No", ErrorCode.REJECTED, "refused the start of the mail (DATA): 554 5.5.1 No"),
        ("BODY", "452 4.3.1 Full", ErrorCode.TEMPORARY, "refused the mail (end of DATA): 452 4.3.1 Full"),
        ("BODY", "554 5.6.0 Spam", ErrorCode.REJECTED, "refused the mail (end of DATA): 554 5.6.0 Spam"),
    ],
)
def test_a_refused_mail_is_not_sent_and_the_connection_stays_open(
    smtp: ScriptedServer, event: str, reply: str, code: ErrorCode, text: str
) -> None:
    smtp.when(event, nth=1).reply(reply)
    connection = connect(server_at(smtp))
    with pytest.raises(NotSent) as caught:
        connection.send(envelope(), DATA, soon(), 0)
    assert caught.value.code is code
    assert str(caught.value) == f"The mail server 127.0.0.1:{smtp.port} {text}"
    assert smtp.accepted == []
    assert connection.usable
    connection.send(envelope(BOB), DATA, soon(), 0)
    assert [mail.recipients for mail in smtp.accepted] == [(BOB,)]
    connection.close()


def test_if_no_recipient_is_accepted_one_temporary_refusal_makes_the_failure_temporary(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", ANA).reply("550 5.1.1 No such user")
    smtp.when("RCPT", BOB).reply("450 4.2.0 Greylisted")
    with pytest.raises(NotSent, match=r"450 4\.2\.0 Greylisted") as caught:
        send(smtp, ANA, BOB)
    assert caught.value.code is ErrorCode.TEMPORARY
    assert caught.value.rejected == (ANA,)
    assert smtp.mails == []


@pytest.mark.parametrize("event", ["MAIL", "RCPT", "DATA"])
def test_if_the_connection_is_lost_before_the_content_the_mail_is_not_sent(smtp: ScriptedServer, event: str) -> None:
    smtp.when(event).drop()
    with pytest.raises(ConnectionSpent) as caught:
        send(smtp)
    assert caught.value.code is ErrorCode.CONNECTION
    assert "was lost at" in str(caught.value)


@pytest.mark.parametrize("event", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
def test_421_ends_the_connection_as_throttled(smtp: ScriptedServer, event: str) -> None:
    smtp.when(event).reply("421 4.7.0 Too busy").drop()
    with pytest.raises(ConnectionSpent, match=r"421 4\.7\.0 Too busy") as caught:
        send(smtp)
    assert caught.value.code is ErrorCode.THROTTLED


def test_421_to_one_recipient_ends_the_whole_mail(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", BOB).reply("421 4.7.0 Too many recipients")
    connection = connect(server_at(smtp))
    with pytest.raises(ConnectionSpent) as caught:
        connection.send(envelope(ANA, BOB, CLEO), DATA, soon(), 0)
    assert caught.value.code is ErrorCode.THROTTLED
    assert not connection.usable
    assert smtp.mails == []


def test_421_to_the_content_means_not_sent_and_no_immediate_retry(smtp: ScriptedServer) -> None:
    smtp.when("BODY").reply("421 4.3.2 Shutting down").drop()
    connection = connect(server_at(smtp))
    with pytest.raises(NotSent) as caught:
        connection.send(envelope(), DATA, soon(), 0)
    assert type(caught.value) is NotSent
    assert caught.value.code is ErrorCode.THROTTLED
    assert not connection.usable


def drop_after_go_ahead(smtp: ScriptedServer) -> None:
    smtp.when("DATA").reply("354 Go ahead").pause(0.1).drop()


def drop_after_body(smtp: ScriptedServer) -> None:
    smtp.when("BODY").drop()


def drop_within_the_reply(smtp: ScriptedServer) -> None:
    smtp.when("BODY").reply("250-2.0.0 Ok").drop()


def answer_with_nonsense(smtp: ScriptedServer) -> None:
    smtp.when("BODY").reply("Ok then")


def answer_out_of_place(smtp: ScriptedServer) -> None:
    smtp.when("BODY").reply("354 More, please")


@pytest.mark.parametrize(
    "script",
    [drop_after_go_ahead, drop_after_body, drop_within_the_reply, answer_with_nonsense, answer_out_of_place],
)
def test_once_the_content_is_started_anything_but_a_complete_reply_is_unknown(
    smtp: ScriptedServer, script: Callable[[ScriptedServer], None]
) -> None:
    script(smtp)
    connection = connect(server_at(smtp))
    with pytest.raises(OutcomeUnknown, match=r"It may or may not have accepted the mail\.") as caught:
        connection.send(envelope(), DATA, soon(), 0)
    assert caught.value.code is ErrorCode.UNKNOWN
    assert not connection.usable


def test_a_timeout_after_the_content_is_unknown(smtp: ScriptedServer) -> None:
    stall = smtp.when("BODY").stall()
    with pytest.raises(OutcomeUnknown, match="did not answer the mail"):
        send(smtp, seconds=0.2)
    assert stall.reached.is_set()


def test_the_content_is_never_started_within_the_margin(smtp: ScriptedServer) -> None:
    smtp.when("RCPT").pause(0.2)
    connection = connect(server_at(smtp))
    with pytest.raises(NotSent):
        connection.send(envelope(), DATA, soon(60.1), 60.0)
    connection.close()
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert smtp.mails == []


def test_a_mail_whose_time_is_up_is_not_started_and_the_connection_stays_usable(smtp: ScriptedServer) -> None:
    connection = connect(server_at(smtp))
    with pytest.raises(NotSent, match=r"time ran out before the sender") as caught:
        connection.send(envelope(), DATA, soon(5), 5.0)
    assert caught.value.code is ErrorCode.TEMPORARY
    assert connection.usable
    connection.close()


def test_a_go_ahead_within_the_margin_is_too_late(smtp: ScriptedServer) -> None:
    smtp.when("DATA").pause(0.2).reply("354 At last")
    with pytest.raises(ConnectionSpent, match="did not answer the start of the mail"):
        send(smtp, seconds=60.1, margin=60.0)
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert smtp.mails == []


@pytest.mark.parametrize("event", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("manner", ["byte by byte", "line by line"])
def test_a_server_that_sends_slowly_cannot_exceed_the_deadline(smtp: ScriptedServer, event: str, manner: str) -> None:
    code = {"CONNECT": "220", "DATA": "354"}.get(event, "250")
    if manner == "byte by byte":
        smtp.when(event).drip(0.02, f"{code} {'wait ' * 100}")
    else:
        smtp.when(event).babble(0.02, f"{code}-wait")
    deadline = soon(0.15)
    start = time.monotonic()
    with pytest.raises(NotSent, match="in time"):
        SmtpConnection(server_at(smtp), deadline).send(envelope(), DATA, deadline, 0)
    assert time.monotonic() - start < 2


def test_a_slow_reply_to_the_content_is_unknown_at_the_deadline(smtp: ScriptedServer) -> None:
    smtp.when("BODY").babble(0.02, "250-wait")
    start = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        send(smtp, seconds=0.15)
    assert time.monotonic() - start < 2


def test_a_server_that_does_not_read_cannot_exceed_the_deadline(start_server: StartServer) -> None:
    smtp = start_server(extensions=())
    smtp.when("DATA").reply("354 Go ahead").stall()
    start = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        send(smtp, data=b"0123456789\r\n" * 2_000_000, seconds=0.15)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("option", "event"), [("greetingTimeout", "CONNECT"), ("socketTimeout", "EHLO"), ("socketTimeout", "MAIL")]
)
def test_each_step_has_its_own_time_limit(smtp: ScriptedServer, option: str, event: str) -> None:
    smtp.when(event).stall()
    start = time.monotonic()
    with pytest.raises(ConnectionSpent, match="in time") as caught:
        connect(server_at(smtp, f"?{option}=100")).send(envelope(), DATA, soon(), 0)
    assert time.monotonic() - start < 2
    assert caught.value.code is ErrorCode.CONNECTION


def test_a_slow_resolver_cannot_exceed_the_deadline(smtp: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    end_of_test = threading.Event()

    def no_answer(*_: object, **__: object) -> list[object]:
        end_of_test.wait(patience(5))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", no_answer)
    with pytest.raises(ConnectionSpent, match="did not answer the connection in time"):
        SmtpConnection(server_at(smtp, host="localhost"), soon(0.1))
    end_of_test.set()


def test_all_addresses_of_the_host_are_tried(smtp: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    dead = "127.0.0.2"  # nothing listens there; the scripted server uses 127.0.0.1 only

    def two_addresses(host: str, port: int, *args: int, **kwargs: int) -> list[object]:
        addresses = [dead, "127.0.0.1"] if host == "mx.test" else [host]
        return [entry for address in addresses for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    connection = connect(server_at(smtp, host="mx.test"))
    assert connection.usable
    connection.close()


def test_a_refused_connection_is_reported() -> None:
    with ScriptedServer() as gone:
        server = server_at(gone)
    with pytest.raises(ConnectionSpent, match="refused the connection: nothing listens there"):
        connect(server)


def test_an_unknown_host_is_reported(smtp: ScriptedServer) -> None:
    with pytest.raises(ConnectionSpent, match="could not be found"):
        connect(server_at(smtp, host="nowhere.invalid"))


def test_a_server_without_ehlo_gets_helo(smtp: ScriptedServer) -> None:
    smtp.when("EHLO").reply("502 5.5.1 What?")
    send(smtp)
    assert [command.split()[0] for command in smtp.commands] == ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]
    assert "MAIL FROM:<shop@example.com>" in smtp.commands


def test_ehlo_sends_the_name_from_the_uri(smtp: ScriptedServer) -> None:
    connect(server_at(smtp, "?name=shop.example.com")).close()
    smtp.wait_until(lambda: "EHLO shop.example.com" in smtp.commands)


@pytest.mark.parametrize("reply", ["Hello", "25 Ok", "2500 Ok", "250_Ok", "999 Ok"])
def test_a_reply_that_is_not_smtp_ends_the_connection(smtp: ScriptedServer, reply: str) -> None:
    smtp.when("MAIL").reply(reply)
    with pytest.raises(ConnectionSpent, match="the server's answer is not SMTP"):
        send(smtp)


@pytest.mark.parametrize("line", ["250-" + "x" * 1000, "250-" + "x" * 100_000])
def test_an_endless_reply_is_cut_off(smtp: ScriptedServer, line: str) -> None:
    smtp.when("MAIL").babble(0, line)
    with pytest.raises(ConnectionSpent, match="the server's answer is too long"):
        send(smtp)


def test_an_unexpected_extra_reply_makes_the_connection_unusable(smtp: ScriptedServer) -> None:
    smtp.when("BODY").reply("250 2.0.0 Ok", "250 2.0.0 And another thing")
    connection = connect(server_at(smtp))
    connection.send(envelope(), DATA, soon(), 0)
    assert not connection.usable
    connection.close()


def test_quit_is_sent(smtp: ScriptedServer) -> None:
    connect(server_at(smtp)).quit()
    smtp.wait_until(lambda: "QUIT" in smtp.commands)


@pytest.mark.parametrize(
    ("extensions", "data", "options"),
    [
        pytest.param(EXTENSIONS, DATA, f"SIZE={len(DATA)}", id="ASCII"),
        pytest.param(EXTENSIONS, b"\xc3\xa4\r\n", "SIZE=4 BODY=8BITMIME", id="eight bits"),
        pytest.param(without("8BITMIME"), b"\xc3\xa4\r\n", "SIZE=4", id="eight bits, not offered"),
        pytest.param(without("SIZE"), DATA, "", id="size not offered"),
        pytest.param(("SIZE",), DATA, f"SIZE={len(DATA)}", id="size without limit"),
        pytest.param(("SIZE 0",), DATA, f"SIZE={len(DATA)}", id="size of no limit"),
    ],
)
def test_mail_parameters_follow_the_extensions_that_the_server_offers(
    start_server: StartServer, extensions: tuple[str, ...], data: bytes, options: str
) -> None:
    smtp = start_server(extensions=extensions)
    send(smtp, data=data)
    assert smtp.accepted[0].options == options


def test_a_mail_that_is_too_large_is_refused_before_it_is_started(start_server: StartServer) -> None:
    smtp = start_server(extensions=("SIZE 10",))
    with pytest.raises(NotSent, match=r"The mail has 11 bytes; .* takes at most 10") as caught:
        send(smtp, data=b"123456789\r\n")
    assert caught.value.code is ErrorCode.REJECTED
    assert not any(command.startswith("MAIL") for command in smtp.commands)


def test_non_ascii_addresses_use_smtputf8(smtp: ScriptedServer) -> None:
    send(smtp, "jürgen@example.com")
    assert smtp.accepted[0].recipients == ("jürgen@example.com",)
    assert "SMTPUTF8" in smtp.accepted[0].options


def test_a_server_without_smtputf8_gets_no_non_ascii_addresses(start_server: StartServer) -> None:
    smtp = start_server(extensions=without("SMTPUTF8"))
    with pytest.raises(NotSent, match="does not offer SMTPUTF8") as caught:
        send(smtp, "jürgen@example.com")
    assert caught.value.code is ErrorCode.REJECTED
    assert "jürgen" not in str(caught.value)


def test_a_line_break_in_an_address_never_reaches_the_server(smtp: ScriptedServer) -> None:
    with pytest.raises(NotSent, match="Nothing was sent"):
        send(smtp, "ana@example.com>\r\nRCPT TO:<eve@example.com")
    assert not any("eve" in command for command in smtp.commands)


def test_the_deadline_uses_the_callers_clock(smtp: ScriptedServer) -> None:
    with pytest.raises(NotSent, match="time ran out before the connection"):
        SmtpConnection(server_at(smtp), Deadline(at=10.0, clock=lambda: 10.0))


DSN = Dsn(envelope_id="17", returned="HDRS", notify="FAILURE,DELAY", recipient="rfc822;ana@example.com")


def test_notifications_are_requested_if_the_server_offers_dsn(start_server: StartServer) -> None:
    smtp = start_server(extensions=(*EXTENSIONS, "DSN"))
    connection = connect(server_at(smtp))
    receipt = connection.send(replace(envelope(ANA, BOB), dsn=DSN), DATA, soon(), 0)
    connection.close()
    assert receipt.warnings == ()
    assert smtp.accepted[0].options.endswith("RET=HDRS ENVID=17")
    assert [command for command in smtp.commands if command.startswith("RCPT")] == [
        f"RCPT TO:<{address}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ana@example.com" for address in (ANA, BOB)
    ]


def test_without_dsn_the_mail_is_sent_with_a_warning(smtp: ScriptedServer) -> None:
    connection = connect(server_at(smtp))
    receipt = connection.send(replace(envelope(), dsn=DSN), DATA, soon(), 0)
    connection.close()
    assert receipt.accepted == (ANA,)
    assert len(receipt.warnings) == 1
    assert "'message.dsn': the mail server does not offer DSN" in receipt.warnings[0]
    assert f"RCPT TO:<{ANA}>" in smtp.commands

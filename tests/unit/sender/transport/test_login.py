"""Encryption and login, against a real server with certificates from a test authority."""

from __future__ import annotations

import base64
import ssl

import pytest
import trustme

from sender.transport.smtp.connection import SmtpConnection
from sender.transport.smtp.replies import ConnectionSpent
from shared.errors import ErrorCode, NotSent
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import AUTHORITY, DATA, connect, envelope, pem, server_at, soon
from tests.unit.sender.transport.conftest import StartServer

USERS = {"ana@example.com": "p@ss/wörd"}
LOGIN = "ana@example.com:p@ss/wörd"


def talk(connection: SmtpConnection) -> None:
    connection.send(envelope(), DATA, soon(), 0)
    connection.close()


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "STARTTLS"])
def test_mail_is_sent_over_tls_to_a_trusted_server(
    start_server: StartServer, server_tls: ssl.SSLContext, implicit: bool
) -> None:
    smtp = start_server(tls=server_tls, implicit=implicit)
    talk(connect(server_at(smtp, host="localhost")))
    assert len(smtp.accepted) == 1
    assert smtp.sessions[0].encrypted


def test_a_large_mail_is_sent_over_tls(start_server: StartServer, server_tls: ssl.SSLContext) -> None:
    smtp = start_server(tls=server_tls, implicit=True)
    data = b"0123456789\r\n" * 100_000
    connection = connect(server_at(smtp, host="localhost"))
    connection.send(envelope(), data, soon(), 0)
    assert smtp.accepted[0].data == data
    connection.close()


def test_ehlo_is_repeated_after_starttls(start_server: StartServer, server_tls: ssl.SSLContext) -> None:
    smtp = start_server(tls=server_tls)
    smtp.when("EHLO", nth=1).reply("250-scripted.test", "250-SIZE 1", "250 STARTTLS")
    talk(connect(server_at(smtp, host="localhost")))
    assert len(smtp.accepted) == 1


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "STARTTLS"])
@pytest.mark.parametrize(
    ("host", "trusted", "complaint"),
    [
        pytest.param("127.0.0.1", True, "mismatch", id="wrong name"),
        pytest.param("localhost", False, "self-signed certificate|unable to get local issuer", id="unknown authority"),
    ],
)
def test_an_untrusted_server_gets_nothing(
    start_server: StartServer,
    server_tls: ssl.SSLContext,
    implicit: bool,
    host: str,
    trusted: bool,
    complaint: str,
) -> None:
    smtp = start_server(tls=server_tls, implicit=implicit, users=USERS)
    authority = pem(AUTHORITY if trusted else trustme.CA())
    with pytest.raises(ConnectionSpent, match=complaint) as caught:
        connect(server_at(smtp, host=host, login=LOGIN, ca=authority))
    assert caught.value.code is ErrorCode.CONNECTION
    assert "TLS_OPTIONS" in str(caught.value)
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert not any(command.startswith(("AUTH", "MAIL")) for command in smtp.commands)


def test_servername_is_the_name_expected_in_the_certificate(
    start_server: StartServer, server_tls: ssl.SSLContext
) -> None:
    smtp = start_server(tls=server_tls)
    talk(connect(server_at(smtp, host="127.0.0.1", servername="localhost")))
    assert smtp.sessions[0].encrypted


def test_verification_can_be_switched_off(start_server: StartServer, server_tls: ssl.SSLContext) -> None:
    smtp = start_server(tls=server_tls)
    talk(connect(server_at(smtp, rejectUnauthorized=False)))
    assert smtp.sessions[0].encrypted


def test_a_client_certificate_is_presented(start_server: StartServer) -> None:
    strict = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=pem(AUTHORITY))
    strict.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.issue_cert("localhost").configure_cert(strict)
    smtp = start_server(tls=strict, implicit=True)
    mine = AUTHORITY.issue_cert("client.test")
    cert, key = mine.cert_chain_pems[0].bytes().decode(), mine.private_key_pem.bytes().decode()
    talk(connect(server_at(smtp, host="localhost", cert=cert, key=key)))
    assert len(smtp.accepted) == 1


def test_required_starttls_that_is_not_offered_is_an_error(smtp: ScriptedServer) -> None:
    with pytest.raises(NotSent, match="does not offer STARTTLS, which requireTLS asks for") as caught:
        connect(server_at(smtp, "?requireTLS=true"))
    assert caught.value.code is ErrorCode.CONNECTION


def test_with_ignoretls_starttls_is_not_used(start_server: StartServer, server_tls: ssl.SSLContext) -> None:
    smtp = start_server(tls=server_tls)
    talk(connect(server_at(smtp, "?ignoreTLS=true")))
    assert not smtp.sessions[0].encrypted


@pytest.mark.parametrize("reply", ["454 4.7.0 TLS not available", "502 5.5.1 Not here"])
def test_failed_starttls_is_never_followed_by_plaintext(
    start_server: StartServer, server_tls: ssl.SSLContext, reply: str
) -> None:
    smtp = start_server(tls=server_tls)
    smtp.when("STARTTLS").reply(reply)
    with pytest.raises(NotSent, match=reply) as caught:
        connect(server_at(smtp))
    assert caught.value.code is ErrorCode.CONNECTION
    assert smtp.commands[-1] == "STARTTLS"


def test_plaintext_injected_before_tls_is_refused(start_server: StartServer, server_tls: ssl.SSLContext) -> None:
    smtp = start_server(tls=server_tls)
    smtp.when("STARTTLS").reply("220 Go ahead", "250 AUTH PLAIN")
    with pytest.raises(ConnectionSpent, match="sent plaintext after the reply to STARTTLS"):
        connect(server_at(smtp, host="localhost"))


def test_smtps_to_a_plaintext_port_names_the_usual_ports(smtp: ScriptedServer) -> None:
    smtp.implicit = True  # the URI says smtps, but the server has no certificate and speaks plaintext
    with pytest.raises(ConnectionSpent, match=r"could not agree on TLS.* port 465"):
        connect(server_at(smtp))


@pytest.mark.parametrize(
    ("mechanisms", "used"),
    [
        (("PLAIN", "LOGIN"), "AUTH PLAIN"),
        (("LOGIN", "PLAIN"), "AUTH PLAIN"),
        (("LOGIN",), "AUTH LOGIN"),
        (("CRAM-MD5", "plain"), "AUTH PLAIN"),
    ],
)
def test_the_login_uses_a_mechanism_that_the_server_offers(
    start_server: StartServer, mechanisms: tuple[str, ...], used: str
) -> None:
    smtp = start_server(users=USERS, mechanisms=mechanisms)
    talk(connect(server_at(smtp, login=LOGIN)))
    assert smtp.sessions[0].user == "ana@example.com"
    assert [command[:10] for command in smtp.commands if command.startswith("AUTH")] == [used]


def test_credentials_are_sent_on_a_separate_line_if_the_server_asks_for_them(start_server: StartServer) -> None:
    smtp = start_server(users=USERS)
    proof = base64.b64encode("\0ana@example.com\0p@ss/wörd".encode()).decode()
    smtp.when("AUTH").reply("334 ")
    smtp.when(proof.upper()).reply("235 2.7.0 Welcome")
    connect(server_at(smtp, login=LOGIN)).close()
    assert len([command for command in smtp.commands if command.startswith("AUTH")]) == 1


def test_if_plain_is_offered_but_unsupported_login_is_used(start_server: StartServer) -> None:
    smtp = start_server(users=USERS)
    smtp.when("AUTH", "PLAIN").reply("504 5.5.4 Unrecognized authentication type")
    talk(connect(server_at(smtp, login=LOGIN)))
    assert smtp.sessions[0].user == "ana@example.com"


def test_a_wrong_password_is_tried_once_and_never_quoted(start_server: StartServer) -> None:
    smtp = start_server(users=USERS)
    with pytest.raises(NotSent, match=r"refused the login \(AUTH\): 535 5\.7\.8") as caught:
        connect(server_at(smtp, login="ana@example.com:s3cret"))
    assert caught.value.code is ErrorCode.AUTH
    assert "s3cret" not in str(caught.value)
    assert len([command for command in smtp.commands if command.startswith("AUTH")]) == 1


@pytest.mark.parametrize(
    ("mechanisms", "complaint"),
    [
        (("CRAM-MD5", "XOAUTH2"), "does not offer AUTH PLAIN or LOGIN, but only CRAM-MD5 XOAUTH2"),
        (None, "does not offer AUTH PLAIN or LOGIN, but a user is configured"),
    ],
)
def test_a_server_without_a_known_mechanism_is_an_auth_error(
    start_server: StartServer, mechanisms: tuple[str, ...] | None, complaint: str
) -> None:
    smtp = start_server(users=USERS if mechanisms else None, mechanisms=mechanisms or ())
    with pytest.raises(NotSent, match=complaint) as caught:
        connect(server_at(smtp, login=LOGIN))
    assert caught.value.code is ErrorCode.AUTH


def test_a_password_to_this_machine_needs_no_tls(start_server: StartServer) -> None:
    smtp = start_server(users=USERS)
    connection = connect(server_at(smtp, login=LOGIN))
    assert not connection.password_was_visible
    connection.close()

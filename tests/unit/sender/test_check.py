"""`python -m sender check`, against real servers: it reports which step failed and what to change."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sender import check_steps
from sender.__main__ import cli
from tests.https_server import HttpsServer
from tests.sendgrid_schema import complaints
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import AUTHORITY, pem

CA = json.dumps({"ca": pem(AUTHORITY)})
ADA = "ada@example.com"
Check = Callable[..., Result]


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def smtp(tls: ssl.SSLContext) -> Iterator[ScriptedServer]:
    with ScriptedServer(tls=tls, users={"ada": "pw"}) as server:
        yield server


@pytest.fixture
def https(tls: ssl.SSLContext) -> Iterator[HttpsServer]:
    with HttpsServer(tls) as server:
        yield server


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Check:
    """Runs the command with these arguments, and these variables in addition to the required ones."""

    def run(*arguments: str, **variables: str) -> Result:
        for name, value in {"DEFAULT_FROM": "shop@example.com", "TLS_OPTIONS": CA, **variables}.items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(cli, ["check", *arguments])

    return run


def test_shadow_mode_is_named_first(smtp: ScriptedServer, check: Check) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"), SHADOW="true")
    assert steps(result)[0] == ("shadow", "skipped")
    assert "no mail is sent" in result.stdout.splitlines()[0]
    assert result.exit_code == 0


def test_a_wrong_mode_is_a_wrong_setting(smtp: ScriptedServer, check: Check) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw"), SHADOW="perhaps")
    assert (result.exit_code, "SHADOW='perhaps'" in result.stdout) == (2, True)


def steps(result: Result) -> list[tuple[str, str]]:
    return [(line[8:20].strip(), line[:8].strip()) for line in result.stdout.splitlines()]


def test_each_step_succeeds_and_nothing_is_sent(check: Check, smtp: ScriptedServer) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result) == [("connect", "ok"), ("greet", "ok"), ("encrypt", "ok"), ("log in", "ok")]
    assert "TLSv1." in result.stdout
    assert result.exit_code == 0
    smtp.wait_until(lambda: "QUIT" in smtp.commands)
    assert not any(command.startswith("MAIL") for command in smtp.commands)


def test_the_user_is_not_shown_because_some_providers_give_it_the_passwords_value(
    check: Check, smtp: ScriptedServer
) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result)[-1] == ("log in", "ok")
    assert "ada" not in result.stdout


def test_implicit_tls_comes_before_the_greeting(check: Check, tls: ssl.SSLContext) -> None:
    with ScriptedServer(tls=tls, implicit=True, users={"ada": "pw"}) as smtp:
        result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result) == [("connect", "ok"), ("encrypt", "ok"), ("greet", "ok"), ("log in", "ok")]


def test_steps_that_are_not_needed_are_skipped(check: Check) -> None:
    with ScriptedServer() as smtp:
        result = check(SMTP_CONNECTION_URI=smtp.uri())
    assert steps(result) == [("connect", "ok"), ("greet", "ok"), ("encrypt", "skipped"), ("log in", "skipped")]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("event", "reply", "failed", "words"),
    [
        ("CONNECT", "554 5.7.1 Go away", "greet", "554 5.7.1 Go away"),
        ("STARTTLS", "454 4.7.0 Not now", "encrypt", "454 4.7.0 Not now"),
        (
            "AUTH",
            "535 5.7.8 Wrong",
            "log in",
            "535 5.7.8 Wrong. Check the user in SMTP_CONNECTION_URI and SMTP_PASSWORD.",
        ),
    ],
)
def test_a_failed_step_is_the_last_line_and_says_what_to_change(
    check: Check, smtp: ScriptedServer, event: str, reply: str, failed: str, words: str
) -> None:
    smtp.when(event).reply(reply)
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result)[-1] == (failed, "failed")
    assert [status for _, status in steps(result)[:-1]] == ["ok"] * (len(steps(result)) - 1)
    assert words in result.stdout.splitlines()[-1]
    assert result.exit_code == 1


def test_a_login_that_fails_without_tls_is_not_blamed_on_encryption(check: Check) -> None:
    with ScriptedServer(users={"ada": "pw"}) as smtp:
        result = check(SMTP_CONNECTION_URI=smtp.uri("ada:wrong"))
    assert steps(result)[2:] == [("encrypt", "skipped"), ("log in", "failed")]


def test_an_untrusted_certificate_fails_the_encryption(check: Check, smtp: ScriptedServer) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"), TLS_OPTIONS="{}")
    assert steps(result)[-1] == ("encrypt", "failed")
    assert "TLS_OPTIONS may give the authority" in result.stdout


def test_a_server_that_does_not_listen_fails_the_connection(check: Check) -> None:
    with ScriptedServer() as gone:
        uri = gone.uri()
    result = check(SMTP_CONNECTION_URI=uri)
    assert steps(result) == [("connect", "failed")]
    assert "nothing listens there" in result.stdout


def test_each_step_says_how_long_it_took(check: Check, smtp: ScriptedServer) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert all(re.search(r" \(\d+\.\d s\)$", line) for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("event", "step", "words"),
    [
        ("CONNECT", "greet", "to greet; a port that expects TLS from the first byte (465) is silent, too"),
        ("AUTH", "log in", "to answer the login"),
        ("BODY", "send", "for the test mail to be accepted"),
    ],
)
def test_a_slow_step_reports_what_it_waits_for(
    check: Check, smtp: ScriptedServer, monkeypatch: pytest.MonkeyPatch, event: str, step: str, words: str
) -> None:
    monkeypatch.setattr(check_steps, "PATIENCE", 0.05)
    smtp.when(event, nth=1).pause(0.3)
    result = check("--send-to", ADA, SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    waiting = [line for line in result.stdout.splitlines() if line.startswith(f"waiting {step} ")]
    assert len(waiting) >= 2
    assert all(words in line for line in waiting)
    assert steps(result)[-1] == ("send", "ok")
    assert result.exit_code == 0


def test_a_silent_port_is_reported_within_five_seconds() -> None:
    assert check_steps.PATIENCE * 1.5 < 5


def test_a_test_mail_is_sent_like_any_other(check: Check, smtp: ScriptedServer) -> None:
    result = check("--send-to", "Bob <bob@example.com>", SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result)[-1] == ("send", "ok")
    [mail] = smtp.accepted
    message_id = message_from_bytes(mail.data)["Message-ID"]
    assert f"250 2.0.0 Ok: queued (Message-ID {message_id})" in result.stdout
    assert (mail.sender, mail.recipients) == ("shop@example.com", ("bob@example.com",))
    assert b"Subject: Firepost: test mail\r\n" in mail.data


def test_the_test_mail_follows_the_guard(check: Check, smtp: ScriptedServer) -> None:
    uri = smtp.uri("ada:pw", "localhost")
    refused = check("--send-to", "bob@example.com", SMTP_CONNECTION_URI=uri, RECIPIENTS_ALLOWED=ADA)
    assert (steps(refused)[-1], refused.exit_code) == (("send", "failed"), 1)
    assert "RECIPIENTS_ALLOWED" in refused.stdout
    redirected = check("--send-to", "bob@example.com", SMTP_CONNECTION_URI=uri, RECIPIENTS_REDIRECT=ADA)
    assert "sent to RECIPIENTS_REDIRECT instead" in redirected.stdout
    assert [mail.recipients for mail in smtp.accepted] == [(ADA,)]


def test_a_wrong_guard_is_reported_before_anything_is_tried(check: Check, smtp: ScriptedServer) -> None:
    result = check(SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"), RECIPIENTS_ALLOWED="")
    assert (steps(result), result.exit_code) == ([("settings", "failed")], 2)
    assert not smtp.commands


def test_a_refused_test_mail_fails_the_check(check: Check, smtp: ScriptedServer) -> None:
    smtp.when("MAIL").reply("550 5.7.60 Client does not have permissions to send as this sender")
    result = check("--send-to", "bob@example.com", SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    assert steps(result)[-1] == ("send", "failed")
    assert result.exit_code == 1


def test_json_reports_the_same_steps(check: Check, smtp: ScriptedServer) -> None:
    smtp.when("AUTH").reply("535 5.7.8 No")
    result = check("--json", SMTP_CONNECTION_URI=smtp.uri("ada:pw", "localhost"))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["step"], line["status"]) for line in lines][-1] == ("log in", "failed")
    assert set(lines[0]) == {"step", "status", "detail", "seconds"}
    assert all(0 <= line["seconds"] < 10 for line in lines)


def test_a_servers_reply_cannot_control_the_terminal(check: Check) -> None:
    with ScriptedServer() as smtp:
        smtp.when("EHLO").reply("250 \x1b[2Jhello")
        result = check(SMTP_CONNECTION_URI=smtp.uri())
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        pytest.param({}, "SMTP_CONNECTION_URI is not set", id="nothing"),
        pytest.param({"SMTP_CONNECTION_URI": "http://x"}, "SMTP_CONNECTION_URI: expected smtp://", id="no SMTP"),
        pytest.param({"SMTP_CONNECTION_URI": "smtp://x", "DEFAULT_FROM": "shop"}, "DEFAULT_FROM: expected", id="from"),
        pytest.param({"TRANSPORT": "sendgrid"}, "SENDGRID_API_KEY is not set", id="no key"),
        pytest.param({"TRANSPORT": "pigeon"}, "TRANSPORT='pigeon': input should be 'smtp' or 'sendgrid'", id="pigeon"),
    ],
)
def test_a_wrong_setting_is_the_only_line(check: Check, variables: dict[str, str], line: str) -> None:
    result = check(**variables)
    assert steps(result) == [("settings", "failed")]
    assert line in result.stdout
    assert result.exit_code == 2


@pytest.mark.parametrize("address", ["bob", "a@b.c, d@e.f", ""])
def test_an_invalid_address_is_a_usage_error(check: Check, address: str) -> None:
    result = check("--send-to", address, SMTP_CONNECTION_URI="smtp://localhost:1")
    assert result.exit_code == 2
    assert "expected one address" in result.stderr


# OAuth2


@pytest.fixture
def oauth(smtp: ScriptedServer, https: HttpsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Settings of a mailbox that accepts the token "good", and a system that trusts the token endpoint."""
    smtp.users, smtp.mechanisms = {ADA: "good"}, ("XOAUTH2",)
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(pem(AUTHORITY))
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    return {
        "AUTH_TYPE": "OAuth2",
        "HOST": "localhost",
        "OAUTH_PORT": str(smtp.port),
        "OAUTH_SECURE": "false",
        "USER": ADA,
        "CLIENT_ID": "our-id",
        "CLIENT_SECRET": "our-secret\n",
        "REFRESH_TOKEN": "1//refresh",
        "OAUTH_TOKEN_URL": f"{https.url}/token",
    }


def test_oauth2_fetches_a_token_first(check: Check, https: HttpsServer, oauth: dict[str, str]) -> None:
    https.answer(200, {}, {"access_token": "good", "expires_in": 3600})
    result = check(**oauth)
    assert steps(result) == [(step, "ok") for step in ("fetch token", "connect", "greet", "encrypt", "log in")], (
        result.stdout
    )
    assert https.requests[0].form["client_secret"] == "our-secret"


def test_an_expired_refresh_token_fails_the_first_step(check: Check, https: HttpsServer, oauth: dict[str, str]) -> None:
    https.answer(400, {}, {"error": "invalid_grant"})
    result = check(**oauth)
    assert steps(result) == [("fetch token", "failed")]
    assert "While Google's OAuth consent screen is in status Testing" in result.stdout


def test_a_refused_token_fails_the_login(check: Check, https: HttpsServer, oauth: dict[str, str]) -> None:
    https.usually(200, {}, {"access_token": "bad", "expires_in": 3600})
    result = check(**oauth)
    assert steps(result)[-1] == ("log in", "failed")
    assert "USER must be the mailbox" in result.stdout


# SendGrid


@pytest.fixture
def sendgrid(https: HttpsServer) -> dict[str, str]:
    return {"TRANSPORT": "sendgrid", "SENDGRID_API_KEY": "SG.key", "SENDGRID_API_URL": https.url}


def test_the_keys_permissions_are_requested_from_sendgrid(
    check: Check, https: HttpsServer, sendgrid: dict[str, str]
) -> None:
    https.answer(200, {}, {"scopes": ["mail.send", "sender_verification_eligible"]})
    result = check(**sendgrid)
    assert steps(result) == [("connect", "ok"), ("log in", "ok"), ("permission", "ok")]
    [request] = https.requests
    assert (request.method, request.path) == ("GET", "/v3/scopes")
    assert request.headers["authorization"] == "Bearer SG.key"


def test_an_unknown_key_fails_the_login(check: Check, https: HttpsServer, sendgrid: dict[str, str]) -> None:
    https.answer(401, {}, {"errors": [{"message": "authorization required", "field": None}]})
    result = check(**sendgrid)
    assert steps(result)[-1] == ("log in", "failed")
    assert "Check SENDGRID_API_KEY" in result.stdout


@pytest.mark.parametrize("body", [{"scopes": ["alerts.read"]}, {}, [], b"<html>"])
def test_a_key_that_may_not_send_fails_the_permission_step(
    check: Check, https: HttpsServer, sendgrid: dict[str, str], body: object
) -> None:
    https.answer(200, {}, body)
    result = check(**sendgrid)
    assert steps(result)[-1] == ("permission", "failed")
    assert "Mail Send" in result.stdout


ODD_ANSWERS = (b"[" * 100_000, b'{"scopes":' * 50_000, b"1" * 5000, b"\xff", b'"\\ud800"', b'{"scopes": [[]]}', b"NaN")


@pytest.mark.parametrize("status", [200, 204, 401, 403, 429, 500])
@pytest.mark.parametrize("body", ODD_ANSWERS, ids=lambda body: repr(body[:12]))
def test_no_answer_of_sendgrid_ends_in_a_traceback(
    check: Check, https: HttpsServer, sendgrid: dict[str, str], status: int, body: bytes
) -> None:
    https.answer(status, {}, body)
    result = check(**sendgrid)
    assert isinstance(result.exception, SystemExit)
    assert (steps(result)[-1][1], result.exit_code) == ("failed", 1)


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize(
    "body",
    [
        *ODD_ANSWERS,
        b'{"access_token": "good", "expires_in": 1' + b"0" * 400 + b"}",
        b'{"access_token": "good", "expires_in": Infinity}',
        b'{"access_token": "good", "expires_in": -1}',
        b'{"access_token": "\\ud800"}',
        b'{"error": {"a": []}, "error_description": [[]]}',
    ],
    ids=lambda body: repr(body[:42]),
)
def test_no_answer_of_a_token_endpoint_ends_in_a_traceback(
    check: Check, https: HttpsServer, oauth: dict[str, str], status: int, body: bytes
) -> None:
    https.answer(status, {}, body)
    result = check(**oauth)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert steps(result)[0][1] == ("ok" if status == 200 and b'"good"' in body else "failed")


def test_sendgrid_gets_the_test_mail(check: Check, https: HttpsServer, sendgrid: dict[str, str]) -> None:
    https.answer(200, {}, {"scopes": ["mail.send"]})
    https.answer(202, {"X-Message-Id": "q1"})
    result = check("--send-to", "bob@example.com", **sendgrid)
    assert steps(result)[-1] == ("send", "ok")
    assert complaints(https.requests[1].json) == []


def test_smtp_password_may_hold_the_key(check: Check, https: HttpsServer, sendgrid: dict[str, str]) -> None:
    https.answer(200, {}, {"scopes": ["mail.send"]})
    check(**{**sendgrid, "SENDGRID_API_KEY": "", "SMTP_PASSWORD": "SG.other"})
    assert https.requests[0].headers["authorization"] == "Bearer SG.other"


def test_every_transport_is_checked_even_if_another_fails(check: Check, smtp: ScriptedServer) -> None:
    with ScriptedServer() as news:
        result = check(
            "--send-to",
            ADA,
            SMTP_CONNECTION_URI=smtp.uri("ada:wrong", "localhost"),
            TRANSPORTS="news",
            NEWS_SMTP_CONNECTION_URI=news.uri(),
        )
        assert [mail.recipients for mail in news.mails] == [(ADA,)]
    lines = [line.split()[:3] for line in result.stdout.splitlines()]
    assert ["failed", "log", "in"] in lines
    assert ["ok", "news:", "connect"] in lines
    assert ["ok", "news:", "send"] in lines
    assert result.exit_code == 1

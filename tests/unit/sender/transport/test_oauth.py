"""Access tokens: fetched over HTTPS from a token endpoint, and sent to a mail server."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sender.net.http import Answer, HttpsEndpoint
from sender.transport.envelope import Receipt
from sender.transport.oauth import MICROSOFT_SCOPE, AccessTokens, Grant, OAuthClient, read_token
from sender.transport.smtp.config import SmtpServer, token_server
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.deadline import Deadline
from shared.errors import ErrorCode, Misconfigured, NotSent
from tests.https_server import HttpsServer, deaf_port
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import ANA, AUTHORITY, DATA, envelope, pem, soon, trusting
from tests.unit.sender.transport.conftest import StartServer

ADA = "ada@example.com"


def client_of(https: HttpsServer, grant: Grant = Grant.REFRESH_TOKEN) -> OAuthClient:
    endpoint = HttpsEndpoint.parse("OAUTH_TOKEN_URL", f"{https.url}/token", trusting())
    return OAuthClient(endpoint, "our-id", "our-secret", grant, "1//refresh" if grant is Grant.REFRESH_TOKEN else None)


def give(https: HttpsServer, token: str, seconds: object = 3599) -> None:
    https.answer(200, {}, {"access_token": token, "expires_in": seconds, "token_type": "Bearer"})


class Ticking:
    """A clock for deadlines that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def soon(self) -> Deadline:
        return Deadline.after(5.0, lambda: self.now)


def test_a_refresh_token_is_exchanged_for_an_access_token(https: HttpsServer) -> None:
    give(https, "ya29.a")
    assert AccessTokens(client_of(https)).get(soon()) == "ya29.a"
    [request] = https.requests
    assert (request.method, request.path) == ("POST", "/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form == {
        "grant_type": "refresh_token",
        "client_id": "our-id",
        "client_secret": "our-secret",
        "refresh_token": "1//refresh",
    }


def test_client_credentials_send_a_scope_instead_of_a_refresh_token(https: HttpsServer) -> None:
    give(https, "eyJ.b")
    AccessTokens(client_of(https, Grant.CLIENT_CREDENTIALS)).get(soon())
    assert https.requests[0].form == {
        "grant_type": "client_credentials",
        "client_id": "our-id",
        "client_secret": "our-secret",
        "scope": MICROSOFT_SCOPE,
    }


@pytest.mark.parametrize(
    ("lifetime", "kept"),
    [(3599, 3539), (100, 50), (None, 240), (-1, 240), ("3599", 240)],
    ids=["an hour", "short", "not given", "nonsense", "text"],
)
def test_a_token_is_cached_until_shortly_before_it_expires(https: HttpsServer, lifetime: object, kept: int) -> None:
    give(https, "first", lifetime)
    give(https, "second")
    tokens, clock = AccessTokens(client_of(https)), Ticking()
    assert tokens.get(clock.soon()) == "first"
    clock.now += kept - 1
    assert tokens.get(clock.soon()) == "first"
    clock.now += 1
    assert tokens.get(clock.soon()) == "second"


def test_many_threads_share_one_request(https: HttpsServer) -> None:
    give(https, "only")
    https.usually(500)
    tokens = AccessTokens(client_of(https))
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: tokens.get(soon()), range(16))) == {"only"}
    assert len(https.requests) == 1


def test_a_thread_waits_for_anothers_request_only_until_its_own_deadline(https: HttpsServer) -> None:
    https.misbehave("silence")
    tokens = AccessTokens(client_of(https))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(tokens.get, soon(0.5))
        https.wait_for_requests(1)
        with pytest.raises(NotSent, match="in time") as caught:
            tokens.get(soon(0.05))
        assert caught.value.code is ErrorCode.TEMPORARY
        assert not first.done()
        assert isinstance(first.exception(5), NotSent)


def test_a_refused_token_is_replaced_once_for_all_threads(https: HttpsServer) -> None:
    give(https, "stale")
    give(https, "fresh")
    https.usually(500)
    tokens = AccessTokens(client_of(https))
    assert tokens.get(soon()) == "stale"
    assert [tokens.get(soon(), refused="stale") for _ in range(3)] == ["fresh"] * 3
    assert len(https.requests) == 2


@pytest.mark.parametrize("manner", ["drop", "silence", "nonsense"])
def test_an_endpoint_that_does_not_answer_is_a_connection_error_and_tried_again(
    https: HttpsServer, manner: str
) -> None:
    https.misbehave(manner)
    give(https, "later")
    tokens = AccessTokens(client_of(https))
    with pytest.raises(NotSent, match="Could not get an access token from localhost:") as caught:
        tokens.get(soon(0.2))
    assert caught.value.code is ErrorCode.CONNECTION
    assert tokens.get(soon()) == "later"


def test_an_endpoint_that_refuses_connections_is_a_connection_error() -> None:
    with deaf_port() as port:
        pass
    endpoint = HttpsEndpoint.parse("OAUTH_TOKEN_URL", f"https://localhost:{port}/token", trusting())
    with pytest.raises(NotSent, match="Connection refused") as caught:
        AccessTokens(OAuthClient(endpoint, "our-id", "our-secret")).get(soon())
    assert caught.value.code is ErrorCode.CONNECTION


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        pytest.param(
            400,
            b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}',
            ErrorCode.AUTH,
            "refused an access token: invalid_grant.\nREFRESH_TOKEN has expired or was revoked",
            id="refresh token expired",
        ),
        pytest.param(400, b'{"error": "invalid_grant"}', ErrorCode.AUTH, "Testing, it expires after 7 days", id="why"),
        pytest.param(
            401, b'{"error": "invalid_client"}', ErrorCode.AUTH, "Check CLIENT_ID and CLIENT_SECRET", id="bad client"
        ),
        pytest.param(
            401,
            b'{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret of app 4d6e ana@b.c"}',
            ErrorCode.AUTH,
            "invalid_client AADSTS7000215.",
            id="Microsoft's number",
        ),
        pytest.param(400, b"{}", ErrorCode.AUTH, "HTTP 400.\nCheck OAUTH_TOKEN_URL", id="no reason given"),
        pytest.param(400, b'{"error": "<b>x"}', ErrorCode.AUTH, "HTTP 400.", id="a reason that is not a word"),
        pytest.param(404, b"<html>", ErrorCode.AUTH, "HTTP 404.", id="a page"),
        pytest.param(404, b"[" * 100_000, ErrorCode.AUTH, "HTTP 404.", id="deeply nested"),
        pytest.param(302, b"", ErrorCode.AUTH, "check OAUTH_TOKEN_URL", id="elsewhere"),
        pytest.param(200, b"<html>", ErrorCode.AUTH, "check OAUTH_TOKEN_URL", id="a page that says OK"),
        pytest.param(200, b'{"access_token": "a\\r\\nb"}', ErrorCode.AUTH, "issued no access", id="a line break in it"),
        pytest.param(500, b"", ErrorCode.TEMPORARY, "for now (HTTP 500)", id="broken"),
        pytest.param(429, b"", ErrorCode.TEMPORARY, "for now (HTTP 429)", id="too many"),
        pytest.param(400, b'{"error": "temporarily_unavailable"}', ErrorCode.TEMPORARY, "for now", id="overloaded"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: bytes, code: ErrorCode, words: str) -> None:
    with pytest.raises(NotSent) as caught:
        read_token(Answer(status, {}, body), "token.test")
    assert caught.value.code is code
    assert words in str(caught.value)
    assert "ana@b.c" not in str(caught.value)


def test_secrets_are_not_in_the_repr(https: HttpsServer) -> None:
    client = client_of(https)
    token = read_token(Answer(200, {}, b'{"access_token": "ya29.secret"}'), "token.test")
    assert not any(secret in f"{client!r} {token!r}" for secret in ("our-secret", "1//refresh", "ya29"))


# The login


@pytest.fixture
def mailbox(start_server: StartServer, server_tls: ssl.SSLContext) -> ScriptedServer:
    """A mail server that accepts the token "good" of one user."""
    return start_server(tls=server_tls, implicit=True, users={ADA: "good"}, mechanisms=("XOAUTH2", "PLAIN"))


def server_at(smtp: ScriptedServer, implicit: bool = True) -> SmtpServer:
    return token_server("localhost", smtp.port, implicit, ADA, json.dumps({"ca": pem(AUTHORITY)}))


Send = Callable[[], Receipt]


@pytest.fixture
def send(mailbox: ScriptedServer, https: HttpsServer) -> Iterator[Send]:
    transport = SmtpTransport(server_at(mailbox), SmtpLimits(data_margin=0.05), AccessTokens(client_of(https)))
    yield lambda: transport.send(envelope(ANA), DATA, soon())
    transport.close()


def logins(smtp: ScriptedServer) -> list[str]:
    return [command for command in smtp.commands if command.startswith("AUTH")]


def test_the_login_sends_user_and_token_in_xoauth2s_format(
    mailbox: ScriptedServer, https: HttpsServer, send: Send
) -> None:
    give(https, "good")
    send()
    [login] = logins(mailbox)
    assert login.startswith("AUTH XOAUTH2 ")
    assert base64.b64decode(login.split(" ")[2]) == f"user={ADA}\1auth=Bearer good\1\1".encode()
    assert len(mailbox.accepted) == 1


def test_a_token_that_the_server_refuses_is_replaced_and_sent_on_a_new_connection(
    mailbox: ScriptedServer, https: HttpsServer, send: Send
) -> None:
    give(https, "revoked")
    give(https, "good")
    send()
    assert [len(session.commands) > 1 and session.user for session in mailbox.sessions] == [None, ADA]
    assert len(mailbox.accepted) == 1


def test_a_second_refusal_is_final_and_says_what_to_check(
    mailbox: ScriptedServer, https: HttpsServer, send: Send
) -> None:
    give(https, "bad")
    give(https, "worse")
    with pytest.raises(NotSent, match=r"535 5\.7\.8 .*\. USER must be the mailbox") as caught:
        send()
    assert caught.value.code is ErrorCode.AUTH
    assert len(logins(mailbox)) == len(https.requests) == 2
    assert "SMTP_PASSWORD" not in str(caught.value)


def test_a_refusal_without_a_challenge_is_handled_alike(
    mailbox: ScriptedServer, https: HttpsServer, send: Send
) -> None:
    mailbox.when("AUTH", nth=1).reply("535 5.7.3 Authentication unsuccessful")
    give(https, "good")
    give(https, "good")
    send()
    assert len(mailbox.accepted) == 1


def test_after_a_temporary_refusal_the_token_is_kept(mailbox: ScriptedServer, https: HttpsServer, send: Send) -> None:
    mailbox.when("AUTH").reply("454 4.7.0 Temporary authentication failure")
    give(https, "good")
    with pytest.raises(NotSent, match="454"):
        send()
    assert len(https.requests) == len(mailbox.sessions) == 1


def test_a_server_without_xoauth2_gets_no_token(mailbox: ScriptedServer, https: HttpsServer, send: Send) -> None:
    mailbox.mechanisms = ("PLAIN", "LOGIN")
    give(https, "good")
    with pytest.raises(NotSent, match="does not offer AUTH XOAUTH2, but only PLAIN LOGIN") as caught:
        send()
    assert caught.value.code is ErrorCode.AUTH
    assert logins(mailbox) == []


def test_a_token_is_never_sent_unencrypted(start_server: StartServer, https: HttpsServer) -> None:
    smtp = start_server(users={ADA: "good"}, mechanisms=("XOAUTH2",))
    give(https, "good")
    transport = SmtpTransport(server_at(smtp, implicit=False), SmtpLimits(), AccessTokens(client_of(https)))
    with pytest.raises(NotSent, match="STARTTLS, which AUTH_TYPE=OAuth2 asks for"):
        transport.send(envelope(ANA), DATA, soon(20))
    assert logins(smtp) == []


def test_without_a_token_there_is_no_connection(mailbox: ScriptedServer, https: HttpsServer, send: Send) -> None:
    https.usually(400, {}, {"error": "invalid_grant"})
    with pytest.raises(NotSent, match="invalid_grant") as caught:
        send()
    assert caught.value.code is ErrorCode.AUTH
    assert mailbox.sessions == []


@pytest.mark.parametrize(("implicit", "port"), [(True, 465), (False, 587)])
def test_the_default_port_depends_on_how_tls_starts(implicit: bool, port: int) -> None:
    assert token_server("smtp.gmail.com", None, implicit, ADA, None).port == port


@pytest.mark.parametrize(
    ("host", "user", "words"),
    [
        pytest.param("smtp.gmail.com:587", ADA, "HOST: expected the mail server's name", id="a port in the host"),
        pytest.param("smtps://smtp.gmail.com", ADA, "HOST: expected the mail server's name", id="a URL"),
        pytest.param("smtp.gmail.com", "Ada Lovelace", "USER: expected the mailbox's address", id="a name"),
    ],
)
def test_host_and_user_are_checked(host: str, user: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        token_server(host, None, True, user, None)

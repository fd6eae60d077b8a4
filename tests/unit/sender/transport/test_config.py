from __future__ import annotations

import pytest

from sender.transport.smtp.config import Encryption, Timeouts, parse_server
from shared.errors import Misconfigured


@pytest.mark.parametrize(
    ("uri", "host", "port", "encryption"),
    [
        pytest.param("smtp://mx.test", "mx.test", 587, Encryption.OFFERED, id="submission port"),
        pytest.param("smtps://mx.test", "mx.test", 465, Encryption.IMPLICIT, id="implicit TLS port"),
        pytest.param("smtp://mx.test:25/", "mx.test", 25, Encryption.OFFERED, id="an empty path"),
        pytest.param(
            " SMTPS://mx.test:2465 ", "mx.test", 2465, Encryption.IMPLICIT, id="capitals and surrounding spaces"
        ),
        pytest.param("smtp://[2001:db8::1]:25", "2001:db8::1", 25, Encryption.OFFERED, id="IPv6"),
        pytest.param("smtp://[::1]", "::1", 587, Encryption.OFFERED, id="IPv6 without port"),
        pytest.param("smtp://mx.test?requireTLS=true", "mx.test", 587, Encryption.REQUIRED, id="requireTLS"),
        pytest.param("smtp://mx.test:25/?ignoreTLS=true", "mx.test", 25, Encryption.NEVER, id="ignoreTLS"),
        pytest.param(
            "smtps://mx.test?secure=true&pool=true", "mx.test", 465, Encryption.IMPLICIT, id="redundant options"
        ),
    ],
)
def test_the_uri_gives_host_port_and_encryption(uri: str, host: str, port: int, encryption: Encryption) -> None:
    server = parse_server(uri)
    assert (server.host, server.port, server.encryption) == (host, port, encryption)
    assert server.user is None
    assert server.servername == host


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        pytest.param("ana:secret", "ana", "secret", id="plain"),
        pytest.param("ana@gmail.com:secret", "ana@gmail.com", "secret", id="an @ in the user"),
        pytest.param("ana%40gmail.com:s%3Acret", "ana@gmail.com", "s:cret", id="percent-encoded"),
        pytest.param("ana:p@ss:w@rd", "ana", "p@ss:w@rd", id="@ and : in the password"),
        pytest.param("ana:a/b?c#d", "ana", "a/b?c#d", id="characters that end a host elsewhere"),
        pytest.param("ana:100%", "ana", "100%", id="a lone percent sign"),
        pytest.param("ana:5%zz", "ana", "5%zz", id="a percent sign before no digits"),
        pytest.param("ana:50%2525", "ana", "50%25", id="an encoded percent sign"),
        pytest.param("ana:p%C3%A4ss", "ana", "päss", id="encoded UTF-8"),
        pytest.param("ana:päss wörd", "ana", "päss wörd", id="anything else as it is"),
        pytest.param("ana:a+b", "ana", "a+b", id="a plus sign"),
    ],
)
def test_user_and_password_are_parsed_leniently(userinfo: str, user: str, password: str) -> None:
    server = parse_server(f"smtp://{userinfo}@mx.test:587")
    assert (server.host, server.user, server.password) == ("mx.test", user, password)


@pytest.mark.parametrize("uri", ["smtp://ana@gmail.com@mx.test", "smtp://ana%40gmail.com:old@mx.test"])
def test_smtp_password_replaces_the_one_in_the_uri(uri: str) -> None:
    server = parse_server(uri, "new%40@/")
    assert (server.user, server.password, server.host) == ("ana@gmail.com", "new%40@/", "mx.test")


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_smtp_password_keeps_the_one_in_the_uri(empty: str | None) -> None:
    assert parse_server("smtp://ana:secret@mx.test", empty).password == "secret"


def test_options_are_parsed_as_in_nodemailer() -> None:
    server = parse_server(
        "smtp://mx.test?name=shop.example.com&connectionTimeout=1500&greetingTimeout=2000&socketTimeout=3000"
        "&maxConnections=3&maxMessages=50"
    )
    assert server.client_name == "shop.example.com"
    assert server.timeouts == Timeouts(connect=1.5, greeting=2.0, command=3.0, data=3.0)
    assert (server.max_connections, server.max_mails) == (3, 50)


@pytest.mark.parametrize(("query", "used"), [("", True), ("?pipelining=true", True), ("?pipelining=false", False)])
def test_pipelining_is_used_unless_it_is_switched_off(query: str, used: bool) -> None:
    assert parse_server(f"smtp://mx.test{query}").pipelining is used


def test_tls_options_override_those_in_the_uri() -> None:
    uri = "smtp://mx.test?tls.servername=uri.test&tls.rejectUnauthorized=true"
    assert parse_server(uri).servername == "uri.test"
    assert parse_server(uri, None, '{"servername": "json.test"}').servername == "json.test"


@pytest.mark.parametrize(
    ("uri", "password", "complaint"),
    [
        pytest.param("mx.test:587", None, "expected smtp://USER@HOST:PORT or", id="no scheme"),
        pytest.param("http://mx.test", None, "found another beginning", id="another scheme"),
        pytest.param("smtp://", None, "found no host", id="nothing else"),
        pytest.param("smtp://ana:secret@", None, "found something else than a host after the last @", id="no host"),
        pytest.param("smtp://ana:secret", None, "found no host", id="a host forgotten"),
        pytest.param("smtp://mx.test/inbox", None, "found no host", id="a path"),
        pytest.param("smtp://mx.test:0", None, "the port must be from 1 to 65535", id="port 0"),
        pytest.param("smtp://mx.test:99999", None, "the port must be from 1 to 65535", id="too high a port"),
        pytest.param("smtp://mx..test", None, "the host is neither", id="an empty label"),
        pytest.param("smtp://ana:secret%FF@mx.test", None, "must be written as %25", id="not UTF-8"),
        pytest.param("smtp://ana@mx.test", None, "set SMTP_PASSWORD", id="no password"),
        pytest.param("smtp://mx.test", "secret", "there is a password, but no user", id="no user"),
        pytest.param(
            "smtp://mx.test?poool=1", None, "option 1 after the '?' is unknown; allowed are conn", id="unknown"
        ),
        pytest.param("smtp://mx.test?requireTLS=yes", None, "option 'requireTLS': expected true or", id="no boolean"),
        pytest.param("smtp://mx.test?socketTimeout=0", None, "expected a whole number from 1", id="no time"),
        pytest.param("smtp://mx.test?requireTLS=true&ignoreTLS=true", None, "exclude each other", id="both"),
        pytest.param("smtp://mx.test?secure=true", None, "smtps:// means secure=true", id="secure against scheme"),
        pytest.param("smtp://mx.test?name=a%0Db", None, "'name' must be a host name", id="a line break"),
    ],
)
def test_a_wrong_uri_is_refused_in_one_line(uri: str, password: str | None, complaint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_server(uri, password)
    text = str(caught.value)
    assert text.startswith("SMTP_CONNECTION_URI: ")
    assert complaint in text
    assert "secret" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("smtp://ana:s3cret@mx.test", "mx.test:587"),
        ("smtp://ana:s3cret@localhost:25", "localhost:25"),
        ("smtp://ana:s3cret@[::1]:25", "[::1]:25"),
        ("smtp://mailhog:1025", "mailhog:1025"),
        ("smtp://ana:x@s3cret", "***:587"),
    ],
)
def test_a_host_that_may_be_the_end_of_a_password_is_not_shown(uri: str, shown: str) -> None:
    assert str(parse_server(uri)) == shown


def test_the_password_is_not_in_the_repr() -> None:
    server = parse_server("smtp://ana:s3cret@[::1]:25")
    assert "s3cret" not in repr(server)
    assert str(server) == "[::1]:25"


def test_the_default_time_limits_are_those_of_the_rfc() -> None:
    """A greeting after half a minute, or a reply after a minute, is legitimate; only the attempt's deadline ends it."""
    timeouts = parse_server("smtp://mx.test").timeouts
    assert (timeouts.greeting, timeouts.command, timeouts.data) == (300, 300, 600)

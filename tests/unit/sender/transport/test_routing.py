"""Named transports: which one a mail uses, and that it is encoded for and sent by the same one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sender import factory
from sender.message.compose import Composer, Mail
from sender.settings import MailSettings
from sender.transport.routing import Routes
from shared.deadline import Deadline
from shared.errors import ErrorCode, Misconfigured, NotSendable
from shared.settings import load
from tests.smtp_server import ScriptedServer

ROUTES = Routes.of(
    {
        "news": frozenset({"news.example.com", "*.promo.example"}),
        "billing": frozenset({"*.example.com", "special.promo.example"}),
        "spare": frozenset(),
    }
)


@pytest.mark.parametrize(
    ("requested", "domain", "name"),
    [
        pytest.param(None, "example.org", "default", id="unknown-domain"),
        pytest.param(None, "news.example.com", "news", id="exact-domain"),
        pytest.param(None, "pay.example.com", "billing", id="subdomain"),
        pytest.param(None, "example.com", "default", id="a-star-does-not-match-the-domain-itself"),
        pytest.param(None, "a.b.promo.example", "news", id="nested-subdomain"),
        pytest.param(None, "special.promo.example", "billing", id="the-most-specific-wins"),
        pytest.param("spare", "news.example.com", "spare", id="the-document-wins"),
        pytest.param("default", "news.example.com", "default", id="the-default-by-name"),
    ],
)
def test_the_transport_is_the_documents_otherwise_that_of_the_authors_domain(
    requested: object, domain: str, name: str
) -> None:
    assert ROUTES.choose(requested, domain) == name


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        pytest.param("s3cret", "another string", id="unknown"),
        pytest.param("News", "another string", id="case-counts"),
        pytest.param("", "another string", id="empty"),
        pytest.param({"service": "gmail"}, "a map", id="nodemailers-options"),
    ],
)
def test_an_unknown_transport_makes_the_document_invalid(requested: object, found: str) -> None:
    with pytest.raises(NotSendable) as refused:
        ROUTES.choose(requested, "example.com")
    expected = "expected one of billing, default, news, spare"
    assert str(refused.value) == f"Field 'transport': {expected}; found {found}."
    assert refused.value.code is ErrorCode.VALIDATION


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads the mail settings from the given variables and the required ones."""

    def read(**variables: str) -> MailSettings:
        common = {"DEFAULT_FROM": "shop@example.com", "SMTP_CONNECTION_URI": "smtp://127.0.0.1:25"}
        for name, value in {**common, **variables}.items():
            monkeypatch.setenv(name, value)
        return load(MailSettings)

    return read


def written(settings: MailSettings, **fields: Any) -> Mail:
    message = {"subject": "Hi", "text": "Hello"}
    write = factory.build_channel(settings, data_margin=0, turn_seconds=1).encode
    return Composer(factory.defaults(settings), write)(
        {"to": "ada@example.org", "message": message, **fields},
        seed="s",
        now=datetime(2026, 11, 24, tzinfo=UTC),
    )


def test_each_mail_goes_to_the_server_of_its_transport(settings: Any) -> None:
    with ScriptedServer() as default, ScriptedServer() as news:
        ours = settings(
            SMTP_CONNECTION_URI=default.uri(),
            TRANSPORTS="news, spare-one",
            NEWS_SMTP_CONNECTION_URI=news.uri(),
            NEWS_FROM_DOMAINS="news.example.com",
            SPARE_ONE_SMTP_CONNECTION_URI=news.uri(),
        )
        channel, begun = factory.build_channel(ours, data_margin=0, turn_seconds=1), list[int]()
        for mail in (
            written(ours),
            written(ours, **{"from": "Weekly <weekly@news.example.com>"}),
            written(ours, transport="spare-one"),
        ):
            channel.transport.send(mail.envelope, mail.data, Deadline.after(10), lambda: begun.append(1))
        channel.transport.close()
    assert len(begun) == 3
    assert [mail.sender for mail in default.mails] == ["shop@example.com"]
    assert [mail.sender for mail in news.mails] == ["weekly@news.example.com", "shop@example.com"]


def test_a_mail_goes_to_the_server_that_its_transport_fails_over_to(settings: Any) -> None:
    with ScriptedServer() as default, ScriptedServer() as spare:
        default.when("CONNECT").drop()
        ours = settings(
            SMTP_CONNECTION_URI=default.uri(),
            FAILOVER="spare",
            TRANSPORTS="spare",
            SPARE_SMTP_CONNECTION_URI=spare.uri(),
            SPARE_FAILOVER_DOMAINS="example.com",
        )
        channel, mail = factory.build_channel(ours, data_margin=0, turn_seconds=1), written(ours)
        receipt = channel.transport.send(mail.envelope, mail.data, Deadline.after(10))
        channel.transport.close()
    assert (receipt.transport, len(spare.accepted)) == ("spare", 1)


def test_a_mail_is_encoded_for_its_transport(settings: Any) -> None:
    ours = settings(TRANSPORTS="bulk", BULK_TRANSPORT="sendgrid", BULK_SENDGRID_API_KEY="SG.k")
    assert written(ours, transport="bulk").data.startswith(b'{"')
    assert written(ours).data.startswith(b"From: ")


def test_a_named_transport_has_its_own_default_from_or_the_common_one(settings: Any) -> None:
    ours = settings(
        DEFAULT_REPLY_TO="help@example.com",
        TRANSPORTS="news,bulk",
        NEWS_SMTP_CONNECTION_URI="smtp://127.0.0.1",
        NEWS_DEFAULT_FROM="News <news@example.com>",
        BULK_SMTP_CONNECTION_URI="smtp://127.0.0.1",
        BULK_DEFAULT_REPLY_TO="bulk@example.com",
    )
    assert b"From: News <news@example.com>\r\n" in written(ours, transport="news").data
    assert b"Reply-To: help@example.com\r\n" in written(ours, transport="news").data
    assert b"From: shop@example.com\r\n" in written(ours, transport="bulk").data
    assert b"Reply-To: bulk@example.com\r\n" in written(ours, transport="bulk").data


def test_without_named_transports_the_field_is_ignored(settings: Any) -> None:
    assert written(settings(), transport={"carrier": "pigeon"}).warnings == ()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        pytest.param({"TRANSPORTS": "News"}, "TRANSPORTS: expected names in lower case", id="capitals"),
        pytest.param({"TRANSPORTS": "default"}, "none 'default', found something else as name 1", id="reserved"),
        pytest.param(
            {"TRANSPORTS": "big-news"},
            "SMTP_CONNECTION_URI is not set (transport 'big-news', whose variables begin with BIG_NEWS_)",
            id="no-server",
        ),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_SMTP_CONNECTION_URI": "smtp://u:hunter2@h:x"},
            "expected smtp://USER@HOST:PORT",
            id="bad-server",
        ),
        pytest.param(
            {"FAILOVER": "news"}, "FAILOVER: expected one of the other transports of its kind (there", id="alone"
        ),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_SMTP_CONNECTION_URI": "smtp://h", "NEWS_FAILOVER": "news"},
            "NEWS_FAILOVER: expected one of the other transports of its kind (default), found something else",
            id="over-to-itself",
        ),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_TRANSPORT": "sendgrid", "NEWS_SENDGRID_API_KEY": "SG.k", "FAILOVER": "news"},
            "FAILOVER: expected one of the other transports of its kind (there is none), found something else",
            id="over-to-another-kind",
        ),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_SMTP_CONNECTION_URI": "smtp://h", "NEWS_FAILOVER_DOMAINS": "a b"},
            "FAILOVER_DOMAINS: expected host names such as",
            id="bad-failover-domain",
        ),
        pytest.param({"TRANSPORTS": "news", "NEWS_AUTH_TYPE": "OAuth2"}, "HOST is not set", id="oauth-by-prefix"),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_SMTP_CONNECTION_URI": "smtp://h", "NEWS_FROM_DOMAINS": "a b"},
            "FROM_DOMAINS: expected host names such as",
            id="bad-domain",
        ),
        pytest.param(
            {
                "TRANSPORTS": "news,bulk",
                "NEWS_SMTP_CONNECTION_URI": "smtp://h",
                "NEWS_FROM_DOMAINS": "x.example",
                "BULK_SMTP_CONNECTION_URI": "smtp://h",
                "BULK_FROM_DOMAINS": "X.example",
            },
            "TRANSPORTS: 'news' and 'bulk' both have the domain 'x.example'",
            id="one-domain-twice",
        ),
        pytest.param(
            {"TRANSPORTS": "news", "NEWS_SMTP_CONNECTION_URI": "smtp://h", "NEWS_DEFAULT_FROM": "shop"},
            "DEFAULT_FROM: expected a@b.c or Name <a@b.c>, found an address without an @",
            id="bad-sender",
        ),
    ],
)
def test_a_misconfigured_named_transport_prevents_the_start(
    settings: Any, variables: dict[str, str], line: str
) -> None:
    with pytest.raises(Misconfigured) as stopped:
        factory.defaults(ours := settings(**variables))
        factory.build_channel(ours, data_margin=0, turn_seconds=1)
    assert line in str(stopped.value)
    assert "hunter2" not in str(stopped.value)
    assert "\n" not in str(stopped.value)

"""Wherever an operator may have put a secret by mistake: neither `check` nor a start that fails shows it."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest
from click.testing import CliRunner

from dispatcher.settings import DispatcherSettings
from sender import bootstrap
from sender.__main__ import cli
from sender.settings import PullSettings, SenderSettings
from shared.errors import Misconfigured
from shared.settings import load

SECRET = "Hunter2Geheim"

#: What the settings below would be without the mistake.
SMTP = {"SMTP_CONNECTION_URI": "smtp://u:pw@mx.example.com"}
OAUTH = {
    **{"AUTH_TYPE": "OAuth2", "HOST": "mx.example.com", "USER": "u@example.com", "CLIENT_ID": "id"},
    **{"CLIENT_SECRET": "pw", "REFRESH_TOKEN": "pw"},
}
SENDGRID = {"TRANSPORT": "sendgrid", "SENDGRID_API_KEY": "pw"}

#: Settings that may hold logins, URLs, addresses or texts, each with what else is set.
SETTINGS = [
    *((SMTP, name) for name in ("SMTP_CONNECTION_URI", "SMTP_PASSWORD", "TLS_OPTIONS", "DEFAULT_FROM")),
    *((SMTP, name) for name in ("DEFAULT_REPLY_TO", "TRANSPORTS", "ATTACHMENT_HOSTS", "ATTACHMENT_BUCKETS")),
    *((SMTP, name) for name in ("OIDC_AUDIENCE", "OIDC_SERVICE_ACCOUNTS")),
    *((OAUTH, name) for name in ("USER", "CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "OAUTH_TOKEN_URL")),
    *((SENDGRID, name) for name in ("SENDGRID_API_KEY", "SMTP_PASSWORD", "SENDGRID_API_URL")),
]
#: What somebody may put into any of them.
ANYTHING = [
    SECRET,
    f" {SECRET}\n",
    f"{SECRET} {SECRET}",
    f"smtp://u:{SECRET}@mx.example.com",
    f"https://u:{SECRET}@mx.example.com/",
    f'{{"{SECRET}": 1}}',
    f"Shop <{SECRET}",
    f"a@example.com, {SECRET}@[",
]
URIS = [
    f"smtp://u:{SECRET}@",
    f"smtp://u:{SECRET}",
    f"smtp://u:{SECRET}@mx.example.com:x",
    f"smtp://u:{SECRET}@mx.example.com:99999",
    f"smtp://u:{SECRET}@mx.example.com/inbox",
    f"smtp://u:{SECRET}%ff@mx.example.com",
    f"smtp://:{SECRET}@mx.example.com",
    f"smtp://u:x@{SECRET}",
    f"smtp://u:pw@mx.example.com?{SECRET}=1",
    f"smtp://u:pw@mx.example.com?tls.{SECRET}=1",
    f"smtp://u:pw@mx.example.com?requireTLS={SECRET}",
    f"smtp://u:pw@mx.example.com?maxMessages={SECRET}",
    f"smtp://u:pw@mx.example.com?name={SECRET}%00",
    f"smtp://u:pw@mx.example.com?tls.ca={SECRET}",
    f"smtp://u:pw@mx.example.com?tls.ciphers={SECRET}",
    f"{SECRET}://mx.example.com",
]
URLS = [
    f"https://:{SECRET}@mx.example.com/",
    f"https://mx.example.com/?key={SECRET}",
    f"https://mx.example.com/#{SECRET}",
    f"https://mx.example.com/{SECRET}",
    f"https://mx.example.com/{SECRET} x",
    f"https://mx.example.com:{SECRET}",
    f"http://mx.example.com/{SECRET}",
    f"{SECRET}://mx.example.com",
]
JSON = [
    f'{{"ca": "{SECRET}"}}',
    f'{{"key": "{SECRET}"}}',
    f'{{"minVersion": "{SECRET}"}}',
    f'{{"servername": "..{SECRET}"}}',
    f"{{{SECRET}}}",
]
#: These can only hold what is not secret, and are shown if they look like it.
HARMLESS = [
    *((SMTP, name) for name in ("AUTH_TYPE", "TRANSPORT", "SMTP_MAX_CONNECTIONS", "SMTP_RATE_PER_SECOND", "PORT")),
    *((SMTP, name) for name in ("LEASE_SECONDS", "MAIL_COLLECTION", "MAIL_TOPIC", "TTL_EXPIRE_TYPE", "TRACES")),
    *((SMTP, name) for name in ("LISTEN_ADDRESS", "WEB_WORKERS")),
    *((OAUTH, name) for name in ("HOST", "OAUTH_PORT", "OAUTH_SECURE", "OAUTH_GRANT")),
]
ROWS = [
    *itertools.product(SETTINGS, ANYTHING),
    *itertools.product([(SMTP, "SMTP_CONNECTION_URI")], URIS),
    *itertools.product([(OAUTH, "OAUTH_TOKEN_URL"), (SENDGRID, "SENDGRID_API_URL")], URLS),
    *itertools.product([(SMTP, "TLS_OPTIONS"), (SENDGRID, "TLS_OPTIONS")], JSON),
    *itertools.product(HARMLESS, [value for value in ANYTHING if "://" in value]),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name resolves, and there is no identity at Google."""

    def no_name(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
    for name in ("USER", "HOST"):
        monkeypatch.delenv(name, raising=False)


def started(kind: type[DispatcherSettings] | type[SenderSettings]) -> str:
    """What a service says that can't start; empty if it can."""
    try:
        settings = load(kind)
        if isinstance(settings, SenderSettings):
            bootstrap.validate(settings)
    except Misconfigured as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [pytest.param(base, name, value, id=f"{name}={value!r}") for (base, name), value in ROWS],
)
def test_a_secret_in_the_wrong_place_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, base: dict[str, str], name: str, value: str
) -> None:
    common = {"DEFAULT_FROM": "shop@example.com", "GOOGLE_CLOUD_PROJECT": "p"}
    emulators = {"FIRESTORE_EMULATOR_HOST": "h:1", "PUBSUB_EMULATOR_HOST": "h:1"}
    for each, text in {**common, **emulators, **base, name: value}.items():
        monkeypatch.setenv(each, text)
    checked = CliRunner().invoke(cli, ["check"])
    assert isinstance(checked.exception, SystemExit), checked.exception
    shown = checked.output + "".join(started(kind) for kind in (DispatcherSettings, SenderSettings, PullSettings))
    assert SECRET.lower() not in shown.lower()

"""Settings: a wrong one prevents the start, with a line that names it."""

from __future__ import annotations

import pytest

from sender import bootstrap, factory
from sender.factory import build_channel
from sender.message.guard import Guard
from sender.settings import PullSettings, SenderSettings
from sender.transport.rate.installation import InstallationRates
from sender.transport.rate.limit import MOST_CLAIMED
from sender.transport.smtp.transport import SmtpTransport
from shared.errors import Misconfigured
from shared.settings import ServiceSettings, load
from tests.fakes import MemoryDatabase

EMULATED = {"FIRESTORE_EMULATOR_HOST": "h:1", "PUBSUB_EMULATOR_HOST": "h:2", "GOOGLE_CLOUD_PROJECT": "p"}
TOKENS = {"OIDC_AUDIENCE": "https://x", "OIDC_SERVICE_ACCOUNTS": "a@p.iam"}
SENDER = {**EMULATED, "SMTP_CONNECTION_URI": "smtp://user:s3cret@mail.example.com", "DEFAULT_FROM": "Shop <a@b.c>"}


def sender(monkeypatch: pytest.MonkeyPatch, **changes: str) -> SenderSettings:
    for name in ("USER", "HOST", "DATABASE", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**SENDER, **changes}.items():
        monkeypatch.setenv(name, value)
    return load(SenderSettings)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sender(monkeypatch)
    assert (settings.database, settings.mail_collection, settings.mail_topic) == ("(default)", "mail", "mail")
    assert settings.attempt < settings.lease_seconds < settings.ack_deadline_seconds
    assert settings.verifier() is None


@pytest.mark.parametrize(
    ("changes", "claimed"),
    [
        pytest.param({}, 40, id="one-server"),
        pytest.param({"SMTP_MAX_CONNECTIONS": "50"}, 50, id="more-connections"),
        pytest.param({"SMTP_CONNECTION_URI": "smtp://mail.example.com?maxConnections=3"}, 3, id="as-the-uri-says"),
        pytest.param(
            {"TRANSPORTS": "billing", "BILLING_SMTP_CONNECTION_URI": "smtp://b.example.com"}, 64, id="two-servers"
        ),
        pytest.param({"SMTP_RATE_PER_SECOND": "5"}, 40 + MOST_CLAIMED, id="some-wait-for-the-rate"),
        pytest.param({"TRANSPORT": "sendgrid", "SENDGRID_API_KEY": "SG.x", "THREADS": "8"}, 8, id="sendgrid"),
    ],
)
def test_as_many_mails_are_claimed_as_there_are_threads_and_connections_can_send(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], claimed: int
) -> None:
    settings = sender(monkeypatch, **changes)
    rates = InstallationRates(MemoryDatabase(), "mail", "a", by_tenant=False, tenant_limit=None)
    channel = build_channel(settings, settings.data_margin, settings.turn_seconds, rate_limits=rates)
    assert bootstrap.limits(settings, channel.transport).claimed == claimed


def test_a_claimed_mail_waits_for_a_connection_no_longer_than_a_tenth_of_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sender(monkeypatch, LEASE_SECONDS="40").turn_seconds == 4


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({"DEFAULT_FROM": ""}, "DEFAULT_FROM is not set", id="missing"),
        pytest.param(
            {"LEASE_SECONDS": "soon"}, "LEASE_SECONDS='soon': input should be a valid integer", id="not-a-number"
        ),
        pytest.param({"LEASE_SECONDS": "1"}, "LEASE_SECONDS='1': input should be greater than", id="out-of-range"),
        pytest.param({"MAIL_COLLECTION": "mail/a"}, "MAIL_COLLECTION='mail/a': ", id="a-document-is-no-collection"),
        pytest.param(
            {"LEASE_EXPIRY_POLICY": "hope"}, "input should be 'error', 'retry-unsent' or 'retry'", id="unknown-policy"
        ),
        pytest.param({"LANES": "bulk,2"}, "LANES: expected names of up to 20 small letters", id="lanes"),
        pytest.param({"LANES": "bulk", "LANE": "fast"}, "LANE: expected one of bulk, default (LANES)", id="lane"),
        pytest.param({"BATCH_SIZE": "501"}, "BATCH_SIZE='501': input should be less than or equal to 500", id="batch"),
        pytest.param({"TTL_EXPIRE_TYPE": "eon"}, "TTL_EXPIRE_TYPE='eon': input should be 'never', 'hour'", id="ttl"),
        pytest.param(
            {"LEASE_SECONDS": "100"}, "LEASE_SECONDS=100 must be less than ACK_DEADLINE_SECONDS=75", id="nest"
        ),
        pytest.param({"ATTEMPT_SECONDS": "60"}, "ATTEMPT_SECONDS=60 must be less than LEASE_SECONDS=60", id="attempt"),
        pytest.param({"THREADS": "1", "WEB_WORKERS": "2"}, "THREADS=1 must be at least WEB_WORKERS=2", id="threads"),
        pytest.param(
            {"SMTP_MAX_CONNECTIONS": "1", "WEB_WORKERS": "2"},
            "SMTP_MAX_CONNECTIONS=1 must be at least WEB_WORKERS=2",
            id="connections",
        ),
        pytest.param({"TRACES": "zipkin"}, "TRACES='zipkin': input should be 'off' or 'otlp'", id="traces"),
        pytest.param({"OIDC_AUDIENCE": "https://x"}, "OIDC_AUDIENCE and OIDC_SERVICE_ACCOUNTS go together", id="half"),
        pytest.param({"PUBSUB_EMULATOR_HOST": ""}, "OIDC_AUDIENCE is missing", id="open-to-the-world"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], line: str) -> None:
    with pytest.raises(Misconfigured) as stopped:
        sender(monkeypatch, **changes)
    assert line in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("workers", "connections"),
    [pytest.param("1", 10, id="one"), pytest.param("2", 5, id="two"), pytest.param("4", 2, id="four")],
)
def test_all_workers_together_keep_an_instances_limits_of_each_transport(
    monkeypatch: pytest.MonkeyPatch, workers: str, connections: int
) -> None:
    """The rate needs no division: it holds for all processes, wherever they run."""
    limits = {"SMTP_MAX_CONNECTIONS": "10", "SMTP_RATE_PER_SECOND": "5"}
    billing = {f"BILLING_{name}": value for name, value in limits.items()}
    uri = {"BILLING_SMTP_CONNECTION_URI": "smtp://billing.example.com"}
    chosen = sender(monkeypatch, TRANSPORTS="billing", WEB_WORKERS=workers, **limits, **billing, **uri).of_one_worker()
    for settings in (chosen, chosen.transports["billing"]):
        assert (settings.smtp_max_connections, settings.smtp_rate_per_second) == (connections, 5.0)


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        pytest.param({}, "127.0.0.1", id="with-emulators"),
        pytest.param({"PUBSUB_EMULATOR_HOST": "", **TOKENS}, "0.0.0.0", id="in-production"),
        pytest.param({"LISTEN_ADDRESS": "0.0.0.0"}, "0.0.0.0", id="chosen"),
        pytest.param({"LISTEN_ADDRESS": "::1"}, "::1", id="chosen-ipv6"),
    ],
)
def test_only_production_listens_to_other_machines(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], address: str
) -> None:
    assert sender(monkeypatch, **changes).address == address


@pytest.mark.parametrize("value", ["localhost", "smtp://user:hunter2@h", "127.0.0.1:80"])
def test_an_address_to_listen_on_is_an_ip_address(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(Misconfigured, match=r"LISTEN_ADDRESS.*: value is not a valid IPv4 or IPv6 address") as stopped:
        sender(monkeypatch, LISTEN_ADDRESS=value)
    assert "hunter2" not in str(stopped.value)


def test_given_values_take_precedence_and_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    sender(monkeypatch)
    assert load(SenderSettings, users_collection="people").users_collection == "people"
    with pytest.raises(Misconfigured, match="USERS_COLLECTION"):
        load(SenderSettings, users_collection="a/b")


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=r"PORT.*THREADS"):
        sender(monkeypatch, PORT="x", THREADS="y")


@pytest.mark.parametrize("name", ["RECIPIENTS_ALLOWED", "RECIPIENTS_REDIRECT"])
@pytest.mark.parametrize("text", ["", " ", ",", "*", "s3cret"])
def test_a_guard_that_is_set_but_says_nothing_sensible_prevents_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    settings = sender(monkeypatch, **{name: text})
    with pytest.raises(Misconfigured, match=name) as stopped:
        bootstrap.validate(settings)
    assert "s3cret" not in str(stopped.value)


def test_the_guard_is_that_of_all_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = {"BILLING_SMTP_CONNECTION_URI": "smtp://billing.example.com", "BILLING_RECIPIENTS_ALLOWED": "b@example.com"}
    settings = sender(monkeypatch, TRANSPORTS="billing", RECIPIENTS_ALLOWED="a@example.com", GUARD="{", **uri)
    assert factory.guard(settings.of_one_worker()) == Guard(frozenset({"a@example.com"}))


def test_without_settings_there_is_no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert factory.guard(sender(monkeypatch)) is None


@pytest.mark.parametrize("text", ["shop", "a@b.c, d@e.f", "<>"])
def test_the_default_sender_is_one_address(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(Misconfigured, match="DEFAULT_FROM"):
        factory.defaults(sender(monkeypatch, DEFAULT_FROM=text))


def test_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sender(monkeypatch, SMTP_PASSWORD="hunter2")
    assert "s3cret" not in repr(settings)
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("SMTP_CONNECTION_URI", "smpt://user:s3cret@mail.example.com")
    with pytest.raises(Misconfigured) as stopped:
        factory.smtp_server(load(SenderSettings))
    assert "s3cret" not in str(stopped.value)


OAUTH = {
    "AUTH_TYPE": "OAuth2",
    "SMTP_CONNECTION_URI": "",
    "HOST": "smtp.gmail.com",
    "USER": "shop@example.com",
    "CLIENT_ID": "our-id",
    "CLIENT_SECRET": "hunter2",
    "REFRESH_TOKEN": "hunter3",
}
APP = {**OAUTH, "REFRESH_TOKEN": "", "OAUTH_GRANT": "client_credentials"}


def test_the_shells_user_and_host_are_ignored_without_oauth2(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sender(monkeypatch, USER="root", HOST="laptop", OAUTH="{", OAUTH_PORT="none")
    assert settings.oauth is None
    assert "root" not in repr(settings)


def test_oauth2_needs_no_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    server = factory.smtp_server(sender(monkeypatch, **OAUTH))
    assert (server.host, server.port, server.user, server.password) == ("smtp.gmail.com", 465, "shop@example.com", None)
    assert factory.access_tokens(sender(monkeypatch, **OAUTH)) is not None


def test_oauth2_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter" not in repr(sender(monkeypatch, **OAUTH))


def test_client_credentials_need_no_refresh_token(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://login.microsoftonline.com/t/oauth2/v2.0/token"
    settings = sender(monkeypatch, **APP, OAUTH_TOKEN_URL=url)
    assert factory.access_tokens(settings) is not None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({"SMTP_CONNECTION_URI": ""}, "SMTP_CONNECTION_URI is not set", id="no-server"),
        pytest.param(
            {"AUTH_TYPE": "oauth"}, "AUTH_TYPE='oauth': input should be 'UsernamePassword' or", id="auth-type"
        ),
        pytest.param({**OAUTH, "HOST": ""}, "HOST is not set", id="no-host"),
        pytest.param({**OAUTH, "CLIENT_ID": "", "USER": ""}, "USER is not set; CLIENT_ID is not set", id="two-at-once"),
        pytest.param({**OAUTH, "REFRESH_TOKEN": ""}, "REFRESH_TOKEN is not set", id="no-refresh-token"),
        pytest.param({**OAUTH, "OAUTH_PORT": "smtps"}, "OAUTH_PORT='smtps': input should be a valid", id="port"),
        pytest.param({**OAUTH, "OAUTH_SECURE": "maybe"}, "OAUTH_SECURE='maybe': input should be a valid", id="secure"),
        pytest.param({**OAUTH, "OAUTH_GRANT": "password"}, "OAUTH_GRANT='password': input should be", id="grant"),
        pytest.param(APP, "OAUTH_TOKEN_URL is not set; OAUTH_GRANT=client_credentials needs one", id="whose-token"),
        pytest.param({**OAUTH, "OAUTH_TOKEN_URL": "http://x"}, "OAUTH_TOKEN_URL: expected an https", id="plain"),
        pytest.param({**OAUTH, "HOST": "https://x"}, "HOST: expected the mail server's name", id="host"),
        pytest.param(
            {**OAUTH, "CLIENT_SECRET": "hunt er"}, "CLIENT_SECRET=(a secret): expected printable", id="secret"
        ),
        pytest.param({"TRANSPORT": "sendgrid"}, "SENDGRID_API_KEY is not set (nor SMTP_PASSWORD)", id="no-key"),
        pytest.param(
            {"TRANSPORT": "sendgrid", "SENDGRID_API_KEY": "a\nhunter2"},
            "SENDGRID_API_KEY=(a secret): expected printable ASCII",
            id="broken-key",
        ),
        pytest.param(
            {"TRANSPORT": "sendgrid", "SMTP_PASSWORD": "k", "SENDGRID_API_URL": "api.sendgrid.com"},
            "SENDGRID_API_URL: expected an https:// URL",
            id="no-url",
        ),
    ],
)
def test_an_unusable_transport_prevents_the_start(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], line: str
) -> None:
    with pytest.raises(Misconfigured) as stopped:
        factory.build_channel(sender(monkeypatch, **changes), data_margin=5, turn_seconds=6)
    assert line in str(stopped.value)
    assert "hunt" not in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_sendgrids_host_does_not_change_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sender(monkeypatch, SMTP_CONNECTION_URI="smtps://apikey:SG.x@smtp.sendgrid.net:465")
    assert isinstance(factory.build_channel(settings, data_margin=5, turn_seconds=6).transport, SmtpTransport)


def test_several_callers_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("OIDC_AUDIENCE", "https://x")
    monkeypatch.setenv("OIDC_SERVICE_ACCOUNTS", "a@p.iam, b@p.iam")
    assert load(ServiceSettings).oidc_service_accounts == {"a@p.iam", "b@p.iam"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({}, "projects/p/subscriptions/mail-sender", id="named-after-the-topic"),
        pytest.param({"MAIL_TOPIC": "post"}, "projects/p/subscriptions/post-sender", id="another-topic"),
        pytest.param({"MAIL_SUBSCRIPTION": "inbox"}, "projects/p/subscriptions/inbox", id="given"),
    ],
)
def test_which_subscription_is_pulled_from(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], name: str) -> None:
    sender(monkeypatch, **changes)
    assert load(PullSettings).subscription == name


def test_a_pulling_sender_has_no_callers_and_needs_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured):
        sender(monkeypatch, PUBSUB_EMULATOR_HOST="")
    assert load(PullSettings).verifier() is None


@pytest.mark.parametrize(
    ("kind", "given", "workers", "budget"),
    [
        pytest.param(SenderSettings, "256", "2", 128, id="two workers"),
        pytest.param(SenderSettings, "20", "4", 16, id="the least"),
        pytest.param(PullSettings, "256", "2", 256, id="one process pulls"),
    ],
)
def test_the_memory_budget_is_divided_among_processes(
    monkeypatch: pytest.MonkeyPatch, kind: type[SenderSettings], given: str, workers: str, budget: int
) -> None:
    sender(monkeypatch, MEMORY_BUDGET_MB=given, WEB_WORKERS=workers)
    assert bootstrap.memory_budget(load(kind).of_one_worker(), 40).size == budget * bootstrap.MIB


def test_without_a_budget_the_processes_share_what_the_container_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "memory_limit", lambda: 4096 * bootstrap.MIB)
    sender(monkeypatch, WEB_WORKERS="2")
    pushed, pulled = (
        bootstrap.memory_budget(load(kind).of_one_worker(), 40).size for kind in (SenderSettings, PullSettings)
    )
    assert pulled > pushed + 1024 * bootstrap.MIB

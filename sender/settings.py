"""The sender's settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from sender.transport.breaker import BreakerRules
from sender.transport.envelope import DEFAULT_TRANSPORT
from sender.transport.oauth import GOOGLE_TOKEN_URL, Grant
from sender.transport.sendgrid import API_URL
from shared.delivery.lanes import DEFAULT_LANE
from shared.errors import Misconfigured
from shared.settings import CollectionPath, EnvironmentSettings, ServiceSettings, TopicId, load

#: The smallest memory budget of a process, in MiB: enough for mails with files of up to 5 MB.
MIN_MEMORY_MB = 16


class OAuthSettings(EnvironmentSettings):
    """The settings of `AUTH_TYPE=OAuth2`, which are read only then: every shell sets USER, and many set HOST."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str
    oauth_port: int | None = Field(default=None, ge=1, le=65535)
    oauth_secure: bool = True
    user: str
    client_id: str
    client_secret: SecretStr
    refresh_token: SecretStr | None = None
    oauth_grant: Grant = Grant.REFRESH_TOKEN
    oauth_token_url: str = GOOGLE_TOKEN_URL

    @model_validator(mode="after")
    def _grant_is_possible(self) -> Self:
        if self.oauth_grant is Grant.REFRESH_TOKEN and self.refresh_token is None:
            raise ValueError("REFRESH_TOKEN is not set; only OAUTH_GRANT=client_credentials works without it")
        if self.oauth_grant is Grant.CLIENT_CREDENTIALS and "oauth_token_url" not in self.model_fields_set:
            example = "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"
            raise ValueError(f"OAUTH_TOKEN_URL is not set; OAUTH_GRANT=client_credentials needs one such as {example}")
        return self


class TransportSettings(EnvironmentSettings):
    """The settings of one transport."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    transport: Literal["smtp", "sendgrid"] = "smtp"
    auth_type: Literal["UsernamePassword", "OAuth2"] = "UsernamePassword"
    smtp_connection_uri: SecretStr | None = None
    smtp_password: SecretStr | None = None
    oauth: Annotated[OAuthSettings | None, NoDecode] = None
    sendgrid_api_key: SecretStr | None = None
    sendgrid_api_url: str = API_URL
    tls_options: str | None = None
    smtp_max_connections: int = Field(default=40, ge=1, le=1000)
    smtp_rate_per_second: float | None = Field(default=None, gt=0)
    failover: str | None = None
    failover_domains: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read_oauth(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Load `oauth` from its own variables; a variable named OAUTH is ignored."""
        is_needed = values.get("auth_type") == "OAuth2" and values.get("transport", "smtp") == "smtp"
        return values | {"oauth": load(OAuthSettings, cls.model_config.get("env_prefix", "")) if is_needed else None}

    @model_validator(mode="after")
    def _transport_is_complete(self) -> Self:
        if self.transport == "sendgrid" and self.api_key is None:
            raise ValueError("SENDGRID_API_KEY is not set (nor SMTP_PASSWORD); TRANSPORT=sendgrid needs it")
        if self.transport == "smtp" and self.oauth is None and self.smtp_connection_uri is None:
            raise ValueError("SMTP_CONNECTION_URI is not set")
        return self

    def shared_by(self, workers: int) -> Self:
        """The share of each of `workers` processes in the connections; a remainder is unused."""
        return self.model_copy(update={"smtp_max_connections": self.smtp_max_connections // workers})

    @property
    def api_key(self) -> SecretStr | None:
        """SendGrid's API key; Trigger Email keeps it in SMTP_PASSWORD."""
        return self.sendgrid_api_key or self.smtp_password


class NamedTransport(TransportSettings):
    """An additional, named transport; `default_from` and `default_reply_to` fall back to the common ones."""

    from_domains: str = ""
    default_from: str | None = None
    default_reply_to: str | None = None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Add the transport's name and variable prefix to a `Misconfigured` raised in the block."""
    try:
        yield
    except Misconfigured as error:
        text = f"{str(error).rstrip('.')} (transport '{name}', whose variables begin with {_prefix(name)})"
        raise Misconfigured(text) from error


def _prefix(name: str) -> str:
    return name.upper().replace("-", "_") + "_"


def _load_named(name: str) -> NamedTransport:
    class Prefixed(NamedTransport):
        model_config = SettingsConfigDict(env_prefix=_prefix(name))

    with naming(name):
        return load(Prefixed)


class GuardSettings(EnvironmentSettings):
    """Who may get mail, over all transports.

    Unlike elsewhere, an empty value does not count as unset: whoever set it wanted mail to be held back.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    recipients_allowed: str | None = None
    recipients_redirect: str | None = None


class MailSettings(TransportSettings):
    """The settings about sending mail, which `python -m sender check` reads. TRANSPORTS lists additional transports."""

    default_from: str
    default_reply_to: str | None = None
    transports: Annotated[Mapping[str, NamedTransport], NoDecode] = Field(default_factory=dict)
    guard: Annotated[GuardSettings, NoDecode]

    @model_validator(mode="before")
    @classmethod
    def _read_others(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Load `transports` and `guard` from their own variables; one named GUARD is ignored."""
        names = [part.strip() for part in str(values.get("transports", "")).split(",") if part.strip()]
        for number, name in enumerate(names, 1):
            if name == DEFAULT_TRANSPORT or not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
                expected = f"names in lower case such as 'billing', separated by commas, and none '{DEFAULT_TRANSPORT}'"
                raise Misconfigured(f"TRANSPORTS: expected {expected}, found something else as name {number}")
        return values | {"transports": {name: _load_named(name) for name in names}, "guard": load(GuardSettings)}

    @model_validator(mode="after")
    def _failovers_exist(self) -> Self:
        of_kind = {DEFAULT_TRANSPORT: self.transport} | {name: each.transport for name, each in self.transports.items()}
        transports: dict[str, TransportSettings] = {DEFAULT_TRANSPORT: self, **self.transports}
        for name, each in transports.items():
            others = [other for other, kind in of_kind.items() if other != name and kind == each.transport]
            if each.failover is not None and each.failover not in others:
                expected = f"one of the other transports of its kind ({', '.join(others) or 'there is none'})"
                variable = "FAILOVER" if name == DEFAULT_TRANSPORT else f"{_prefix(name)}FAILOVER"
                raise ValueError(f"{variable}: expected {expected}, found something else")
        return self


class SenderSettings(MailSettings, ServiceSettings):
    """All settings of a sender. Times are in seconds."""

    lane: str = DEFAULT_LANE
    tenant_field: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    tenant_rate_per_second: float | None = Field(default=None, gt=0)
    threads: int = Field(default=64, ge=1, le=1000)
    dead_letter_topic: TopicId = "mail-dead-letter"
    users_collection: CollectionPath | None = None
    templates_collection: CollectionPath | None = None
    attachment_hosts: str = "*"
    attachment_buckets: str = ""
    inline_css: bool = False
    text_from_html: bool = False
    store_rendered: bool = False
    redact_after_success: bool = False
    attempt_seconds: float | None = Field(default=None, gt=0)
    ack_deadline_seconds: int = Field(default=75, ge=10, le=600)
    memory_budget_mb: int | None = Field(default=None, ge=MIN_MEMORY_MB, le=1024 * 1024)

    @model_validator(mode="after")
    def _retention_is_unambiguous(self) -> Self:
        if self.store_rendered and self.redact_after_success:
            raise ValueError("STORE_RENDERED and REDACT_AFTER_SUCCESS exclude each other")
        return self

    @model_validator(mode="after")
    def _lane_exists(self) -> Self:
        if not self.lanes.has(self.lane):
            raise ValueError(
                f"LANE: expected one of {', '.join((*self.lanes.rules, DEFAULT_LANE))} (LANES), found another"
            )
        return self

    @model_validator(mode="after")
    def _tenants_have_a_field(self) -> Self:
        if self.tenant_rate_per_second and not self.tenant_field:
            raise ValueError("TENANT_RATE_PER_SECOND needs TENANT_FIELD, the field that says whose mail it is")
        return self

    @model_validator(mode="after")
    def _workers_have_connections(self) -> Self:
        transports: list[TransportSettings] = [self, *self.transports.values()]
        fewest = min(each.smtp_max_connections for each in transports)
        if fewest < self.web_workers:
            raise ValueError(f"SMTP_MAX_CONNECTIONS={fewest} must be at least WEB_WORKERS={self.web_workers}")
        return self

    @model_validator(mode="after")
    def _times_nest(self) -> Self:
        """An attempt must end before its lease does, and the lease before Pub/Sub delivers the message again."""
        if self.attempt >= self.lease_seconds:
            raise ValueError(f"ATTEMPT_SECONDS={self.attempt:g} must be less than LEASE_SECONDS={self.lease_seconds}")
        if self.lease_seconds >= self.ack_deadline_seconds:
            raise ValueError(
                f"LEASE_SECONDS={self.lease_seconds} must be less than ACK_DEADLINE_SECONDS={self.ack_deadline_seconds}"
                ", which must be the subscription's ack deadline"
            )
        return self

    def of_one_worker(self) -> Self:
        """The settings for one worker process: connections and rate are divided among all workers."""
        named = {name: each.shared_by(self.web_workers) for name, each in self.transports.items()}
        return self.shared_by(self.web_workers).model_copy(update={"transports": named})

    @property
    def processes(self) -> int:
        """The number of processes that share the memory."""
        return self.web_workers

    @property
    def attempt(self) -> float:
        """The longest that an attempt may take from claim to result, in seconds of wall-clock time."""
        return self.attempt_seconds or self.lease_seconds * 5 / 6

    @property
    def breaker(self) -> BreakerRules:
        """When mail to a server is held back: without patience, not because the server is out."""
        return BreakerRules(outages=self.outage_patience > 0)

    @property
    def data_margin(self) -> float:
        """Seconds that must be left of an attempt to start the content of a mail."""
        return self.attempt / 10

    @property
    def turn_seconds(self) -> float:
        """The longest that a claimed mail waits for a connection, in seconds; a small part of its lease."""
        return self.lease_seconds / 10

    @property
    def queue_seconds(self) -> float:
        """The longest, in seconds, that a message can wait before the claim and still be acknowledged in time."""
        return float(self.ack_deadline_seconds - self.lease_seconds)

    @property
    def finish_retry_seconds(self) -> float:
        """How long, in seconds, writing a result is retried: until Pub/Sub redelivers the message."""
        return self.ack_deadline_seconds - self.attempt


class PullSettings(SenderSettings):
    """The settings of a sender that pulls. It is not called over HTTP, so it verifies no tokens."""

    has_callers: ClassVar[bool] = False

    mail_subscription: TopicId | None = None
    pull_max_messages: int | None = Field(default=None, ge=1, le=10000)
    pull_max_bytes: int = Field(default=64 * 1024 * 1024, ge=1)

    @property
    def processes(self) -> int:
        """See `SenderSettings.processes`: one pulls, whatever WEB_WORKERS says."""
        return 1

    @property
    def subscription(self) -> str:
        """The full name of the subscription."""
        name = self.mail_subscription or f"{self.mail_topic}-sender"
        return f"projects/{self.google_cloud_project}/subscriptions/{name}"

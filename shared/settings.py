"""Settings come from environment variables. They are read and checked once, and never change.

A field is the variable's name in lower case. Names follow Trigger Email where it has the setting.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, IPvAnyAddress, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.batcher import Batching
from shared.delivery.lanes import NO_LANES, Lanes
from shared.delivery.policy import LONGEST_LEASE_SECONDS, BackOff, LeaseExpiryPolicy, Policy, Ttl, TtlUnit
from shared.errors import Misconfigured
from shared.http.auth import TokenVerifier
from shared.observability.tracing import Traces

GOOGLE_CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"

CollectionPath = Annotated[str, StringConstraints(pattern=r"^[^/]+(/[^/]+/[^/]+)*$")]
TopicId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$")]


def _lanes(given: Any) -> Any:
    return Lanes.parse(given) if isinstance(given, str) else given


#: What both services log when they start in shadow mode.
SHADOW_NOTICE = "shadow mode: no mail is sent and no document is written, because SHADOW is true"


class EnvironmentSettings(BaseSettings):
    """Settings that come from environment variables alone. To look for them in files would take as long as the rest."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The values that are given, and the environment."""
        return init_settings, env_settings


class Mode(EnvironmentSettings):
    """What the services do with mails; `python -m sender check` reads it, too."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, defer_build=True)

    shadow: bool = False

    @property
    def health(self) -> str:
        """What GET /health answers when all is well, which tells shadow mode from the normal one."""
        return "ok, in shadow mode: nothing is sent" if self.shadow else "ok"


class ServiceSettings(Mode):
    """Settings that the dispatcher and the sender share."""

    #: Whether this process serves HTTP requests, whose callers must authenticate.
    has_callers: ClassVar[bool] = True

    google_cloud_project: str = Field(description="the id of the Google Cloud project")
    database: str = "(default)"
    mail_collection: CollectionPath = "mail"
    mail_topic: TopicId = "mail"
    lanes: Annotated[Lanes, NoDecode, BeforeValidator(_lanes)] = NO_LANES
    listen_address: IPvAnyAddress | None = None
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default=32, ge=1, le=1000)
    web_workers: int = Field(default=1, ge=1, le=64)
    traces: Traces = "off"
    batch_size: int = Field(default=100, ge=1, le=500)
    batch_wait_ms: int = Field(default=50, ge=0, le=1000)

    lease_seconds: int = Field(default=60, ge=2, le=LONGEST_LEASE_SECONDS)
    lease_expiry_policy: LeaseExpiryPolicy = LeaseExpiryPolicy.ERROR
    max_attempts: int = Field(default=1, ge=1, le=100)
    retry_first_seconds: int = Field(default=30, ge=1, le=86400)
    retry_longest_seconds: int = Field(default=3600, ge=1, le=604800)
    stranded_after: int = Field(default=900, ge=1, le=604800)
    outage_patience: int = Field(default=3600, ge=0, le=604800)
    ttl_expire_type: Literal["never", "hour", "day", "week", "month", "year"] = "never"
    ttl_expire_value: int = Field(default=1, ge=1, le=36500)

    oidc_audience: str | None = None
    oidc_service_accounts: Annotated[frozenset[str], NoDecode] = frozenset()
    oidc_certificates_url: str = GOOGLE_CERTIFICATES
    oidc_behind_cloud_run: bool = False
    firestore_emulator_host: str | None = None
    pubsub_emulator_host: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, Any]) -> dict[str, Any]:
        accounts = values.get("oidc_service_accounts")
        if isinstance(accounts, str):
            return values | {"oidc_service_accounts": [part.strip() for part in accounts.split(",") if part.strip()]}
        return values

    @model_validator(mode="after")
    def _retries_can_happen(self) -> Self:
        if self.lease_expiry_policy is LeaseExpiryPolicy.RETRY and self.max_attempts < 2:
            raise ValueError(f"LEASE_EXPIRY_POLICY=retry needs MAX_ATTEMPTS of at least 2, found {self.max_attempts}")
        return self

    @model_validator(mode="after")
    def _workers_have_threads(self) -> Self:
        if self.threads < self.web_workers:
            raise ValueError(f"THREADS={self.threads} must be at least WEB_WORKERS={self.web_workers}")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if bool(self.oidc_audience) != bool(self.oidc_service_accounts):
            raise ValueError("OIDC_AUDIENCE and OIDC_SERVICE_ACCOUNTS go together; one of them is missing")
        if self.has_callers and not self.oidc_audience and not self.emulated:
            raise ValueError(
                "OIDC_AUDIENCE is missing: outside an emulator every caller must authenticate with a token from Google"
            )
        return self

    @property
    def emulated(self) -> bool:
        """Whether this process uses an emulator instead of Google Cloud."""
        return self.firestore_emulator_host is not None and self.pubsub_emulator_host is not None

    @property
    def address(self) -> str:
        """The IP address on which to listen: by default all of a container's, and only loopback with emulators."""
        default = "127.0.0.1" if self.emulated else "0.0.0.0"
        return default if self.listen_address is None else str(self.listen_address)

    def policy(self) -> Policy:
        """The operator's settings for attempts, for the state machine."""
        ttl = None if self.ttl_expire_type == "never" else Ttl(self.ttl_expire_value, TtlUnit(self.ttl_expire_type))
        return Policy(
            lease=timedelta(seconds=self.lease_seconds),
            max_attempts=self.max_attempts,
            lease_expiry=self.lease_expiry_policy,
            ttl=ttl,
            back_off=BackOff(
                timedelta(seconds=self.retry_first_seconds), timedelta(seconds=self.retry_longest_seconds)
            ),
            stranded_after=timedelta(seconds=self.stranded_after),
            outage_patience=timedelta(seconds=self.outage_patience),
        )

    def batching(self) -> Batching:
        """How concurrent mails share requests."""
        return Batching(self.batch_size, self.batch_wait_ms / 1000)

    def verifier(self) -> TokenVerifier | None:
        """The verifier of callers' tokens; None where an emulator makes that unnecessary."""
        if self.oidc_audience is None:
            return None
        return TokenVerifier.over_http(
            self.oidc_audience,
            self.oidc_service_accounts,
            self.oidc_certificates_url,
            behind_cloud_run=self.oidc_behind_cloud_run,
        )


_Settings = TypeVar("_Settings", bound=BaseSettings)


def load(kind: type[_Settings], prefix: str | None = None, **given: Any) -> _Settings:
    """Read the environment; raises `Misconfigured` with one line that lists everything wrong.

    `prefix` is the prefix of the variables' names; None means the class's own. `given` are values that take precedence
    over the environment, by field.
    """
    try:
        return kind(_env_prefix=prefix, **given)
    except ValidationError as error:
        raise Misconfigured("; ".join(map(_fault, error.errors()))) from error


#: The faults of values that are not secret: numbers, switches, choices, ids, names of collections, IP addresses.
_HARMLESS = re.compile(r"(int|float|bool)_.*|(greater|less)_than.*|enum|literal_error|string_pattern_.*|ip_.*")
#: No URL, no login, no address, and shorter than most keys: somebody may have taken one variable for another.
_LEGIBLE = re.compile(r"[\w ./()%+-]{0,40}", re.ASCII)


def _fault(fault: Any) -> str:
    text = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return str(text)
    name = str(fault["loc"][0]).upper()
    if fault["type"] == "missing":
        return f"{name} is not set"
    value = str(fault["input"])
    shown = f"={value!r}" if _HARMLESS.fullmatch(fault["type"]) and _LEGIBLE.fullmatch(value) else ""
    return f"{name}{shown}: {text[0].lower()}{text[1:]}"

"""The sender's settings."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from shared.settings import ServiceSettings, TopicId


class SenderSettings(ServiceSettings):
    """What a sender needs to know beside `ServiceSettings`. Times are in seconds."""

    dead_letter_topic: TopicId = "mail-dead-letter"

    smtp_connection_uri: SecretStr
    smtp_password: SecretStr | None = None
    tls_options: str | None = None
    smtp_max_connections: int = Field(default=10, ge=1, le=1000)
    smtp_rate_per_second: float | None = Field(default=None, gt=0)
    default_from: str
    default_reply_to: str | None = None

    attempt_seconds: float | None = Field(default=None, gt=0)
    ack_deadline_seconds: int = Field(default=75, ge=10, le=600)

    @model_validator(mode="after")
    def _times_nest(self) -> Self:
        """An attempt must end before its lease does, and the lease before Pub/Sub delivers the message again."""
        if self.attempt >= self.lease_seconds:
            raise ValueError(f"ATTEMPT_SECONDS={self.attempt:g} must be less than LEASE_SECONDS={self.lease_seconds}")
        if self.lease_seconds >= self.ack_deadline_seconds:
            raise ValueError(
                f"LEASE_SECONDS={self.lease_seconds} must be less than ACK_DEADLINE_SECONDS={self.ack_deadline_seconds}"
                ", which must be what the subscription has"
            )
        return self

    @property
    def attempt(self) -> float:
        """Seconds of wall-clock time that an attempt may take, from claim to result."""
        return self.attempt_seconds or self.lease_seconds * 5 / 6

    @property
    def data_margin(self) -> float:
        """Seconds of the attempt that must be left for the mail itself to be begun."""
        return self.attempt / 10

    @property
    def finish_patience(self) -> float:
        """Seconds for which writing a result can still help: until the message comes again."""
        return self.ack_deadline_seconds - self.attempt

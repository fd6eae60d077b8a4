"""Builders for the operators' tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cli.mail import Mail
from shared.pubsub.letters import Letter

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def mail(path: str = "mail/a", created: datetime = NOW, **delivery: Any) -> Mail:
    return Mail(path, {"delivery": delivery} if delivery else {}, created, version=created)


def letter(
    attributes: Mapping[str, str] | None = None, data: bytes = b"{}", identifier: str = "1", published: datetime = NOW
) -> Letter:
    return Letter(identifier, f"ack-{identifier}", data, attributes or {}, published)

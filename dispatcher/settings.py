"""The dispatcher's settings."""

from __future__ import annotations

from shared.settings import ServiceSettings, TopicId


class DispatcherSettings(ServiceSettings):
    """What a dispatcher needs to know beside `ServiceSettings`."""

    events_topic: TopicId | None = None

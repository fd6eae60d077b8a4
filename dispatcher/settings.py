"""The dispatcher's settings."""

from __future__ import annotations

from shared.settings import ServiceSettings, TopicId


class DispatcherSettings(ServiceSettings):
    """The dispatcher's settings, in addition to `ServiceSettings`."""

    events_topic: TopicId | None = None

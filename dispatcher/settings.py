"""The dispatcher's settings."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import StringConstraints, model_validator
from pydantic_settings import NoDecode

from dispatcher.event_names import CHANNEL, EventType, full_channel
from shared.settings import ServiceSettings, TopicId

ChannelName = Annotated[str, StringConstraints(pattern=CHANNEL)]


class DispatcherSettings(ServiceSettings):
    """The dispatcher's settings, in addition to `ServiceSettings`."""

    events_topic: TopicId | None = None
    eventarc_channel: ChannelName | None = None
    eventarc_cloud_event_source: str | None = None
    ext_selected_events: Annotated[frozenset[EventType] | None, NoDecode] = None
    cloud_eventarc_emulator_host: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _split_events(cls, values: dict[str, Any]) -> dict[str, Any]:
        events = values.get("ext_selected_events")
        if isinstance(events, str):
            return values | {"ext_selected_events": [part.strip() for part in events.split(",") if part.strip()]}
        return values

    @model_validator(mode="after")
    def _no_test_mail_leaves(self) -> Self:
        if self.eventarc_channel and self.emulated and not self.cloud_eventarc_emulator_host:
            raise ValueError("EVENTARC_CHANNEL needs CLOUD_EVENTARC_EMULATOR_HOST beside the other emulators")
        return self

    @property
    def channel(self) -> str | None:
        """The full name of Eventarc's channel: `projects/…/locations/…/channels/…`."""
        return full_channel(self.eventarc_channel, self.google_cloud_project) if self.eventarc_channel else None

"""The dispatcher's own settings."""

from __future__ import annotations

import pytest

from dispatcher.bootstrap import build
from dispatcher.event_names import EventType
from dispatcher.settings import DispatcherSettings
from shared.errors import Misconfigured
from shared.settings import load

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "shop",
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
    "CLOUD_EVENTARC_EMULATOR_HOST": "http://127.0.0.1:9299",
    "EVENTARC_CHANNEL": "locations/europe-west1/channels/firebase",
}


def settings(monkeypatch: pytest.MonkeyPatch, **changes: str) -> DispatcherSettings:
    for name, value in {**GIVEN, **changes}.items():
        monkeypatch.setenv(name, value)
    return load(DispatcherSettings)


def test_a_channel_and_the_types_that_go_to_it_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings(monkeypatch, EXT_SELECTED_EVENTS=f"{EventType.ERROR.value}, {EventType.RETRY.value}")
    assert loaded.channel == "projects/shop/locations/europe-west1/channels/firebase"
    assert loaded.ext_selected_events == frozenset({EventType.ERROR, EventType.RETRY})


def test_by_default_there_is_no_channel_and_all_types_are_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings(monkeypatch, EVENTARC_CHANNEL="")
    assert (loaded.channel, loaded.ext_selected_events) == (None, None)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"EVENTARC_CHANNEL": "channels/c"}, "EVENTARC_CHANNEL='channels/c': ", id="no-location"),
        pytest.param({"EVENTARC_CHANNEL": "a b"}, "EVENTARC_CHANNEL='a b': ", id="no-id"),
        pytest.param({"EXT_SELECTED_EVENTS": "onError"}, "EXT_SELECTED_EVENTS='onError': ", id="short-type"),
        pytest.param(
            {"CLOUD_EVENTARC_EMULATOR_HOST": ""},
            "EVENTARC_CHANNEL needs CLOUD_EVENTARC_EMULATOR_HOST beside the other emulators",
            id="a-test-with-the-real-channel",
        ),
    ],
)
def test_a_wrong_one_prevents_the_start(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], text: str) -> None:
    with pytest.raises(Misconfigured) as error:
        settings(monkeypatch, **changes)
    assert text in str(error.value)
    assert ";" not in str(error.value)


@pytest.mark.parametrize("host", ["http://127.0.0.1:9299", "127.0.0.1:9299"])
def test_the_dispatcher_starts_with_the_emulators(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    service = build(settings(monkeypatch, CLOUD_EVENTARC_EMULATOR_HOST=host))
    assert service.close is not None
    service.close()

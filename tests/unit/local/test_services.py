from __future__ import annotations

from pathlib import Path

import pytest

from local.options import StackOptions
from local.services import environment, is_crash_loop, service_command


def test_a_service_gets_every_variable_that_it_has_in_production() -> None:
    options = StackOptions(project="demo-x", settings={"LEASE_SECONDS": "5", "TTL_EXPIRE_TYPE": "day"})
    variables = environment(options, firestore="127.0.0.1:1", pubsub="127.0.0.1:2", smtp_uri="smtp://h:3", port=4)
    assert variables == {
        "MAIL_COLLECTION": "mail",
        "MAIL_TOPIC": "mail",
        "DEAD_LETTER_TOPIC": "mail-dead-letter",
        "DEFAULT_FROM": "Firepost <firepost@example.com>",
        "LEASE_SECONDS": "5",
        "ACK_DEADLINE_SECONDS": "75",
        "STRANDED_AFTER": "30",
        "TTL_EXPIRE_TYPE": "day",
        "PORT": "4",
        "GOOGLE_CLOUD_PROJECT": "demo-x",
        "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:2",
        "SMTP_CONNECTION_URI": "smtp://h:3",
    }


def test_the_services_do_not_inherit_the_users_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    variables = service_command("sender", "push", tmp_path / "sender.log", {"PORT": "4"}).environment or {}
    assert variables["PORT"] == "4"
    assert "PATH" in variables
    assert not {"USER", "SMTP_PASSWORD"} & variables.keys()


@pytest.mark.parametrize(
    ("deaths", "expected"),
    [
        pytest.param([], False, id="never died"),
        pytest.param([97, 98, 99], False, id="three deaths may be an accident"),
        pytest.param([96, 97, 98, 99], True, id="four within seconds"),
        pytest.param([10, 40, 70, 99], False, id="four, far apart"),
        pytest.param([10, 96, 97, 98, 99], True, id="old deaths don't count"),
    ],
)
def test_many_deaths_in_a_short_time_are_a_crash_loop(deaths: list[float], expected: bool) -> None:
    assert is_crash_loop(deaths, now=100) is expected

"""`pause`, `resume`, and what `status` says about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.delivery.pause import KNOWN_WITHIN, Kind, Pause, control_path
from tests.unit.cli.conftest import Store

CONTROL = control_path("mail")


def known(store: Store) -> Pause:
    return Pause.of(store.client.document(CONTROL).get().to_dict())


def said(store: Store, *arguments: str) -> dict[str, Any]:
    result = store.run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_nothing_is_paused_at_first(store: Store) -> None:
    assert said(store, "status") == {"paused": None, "transports": {}, "lanes": {}, "resumed": None}
    assert store.run("status").stdout == "All mail: not paused\n"


def test_all_mail_is_paused_and_resumed(store: Store) -> None:
    before = datetime.now(UTC)
    assert store.run("pause").stdout.startswith("All mail: paused since ")
    since = known(store).since
    assert since is not None
    assert since >= before
    assert store.run("pause").exit_code == 0
    assert known(store).since == since
    assert store.run("status").stdout.startswith("All mail: paused since ")
    assert said(store, "resume", "--rate", "2.5")["paused"] is None
    resumed = known(store).resumed
    assert resumed is not None
    assert (resumed.rate, resumed.granted) == (2.5, resumed.time + KNOWN_WITHIN)
    assert "Catching up since" in store.run("status").stdout
    assert "at most 2.5 a second" in store.run("status").stdout


@pytest.mark.parametrize("kind", Kind)
def test_transports_and_lanes_are_paused_and_resumed_by_name(store: Store, kind: Kind) -> None:
    [other] = {*Kind} - {kind}
    assert store.run("pause", f"--{other}", "bulk").exit_code == 0
    for name in ("bulk", "eu-1"):
        assert store.run("pause", f"--{kind}", name).exit_code == 0
    assert set(known(store).named(kind)) == {"bulk", "eu-1"}
    assert store.run("resume", f"--{kind}", "bulk").exit_code == 0
    assert set(known(store).named(kind)) == set(said(store, "status")[f"{kind}s"]) == {"eu-1"}
    assert set(known(store).named(other)) == set(said(store, "status")[f"{other}s"]) == {"bulk"}
    assert f"{kind.capitalize()} eu-1: paused since" in store.run("status").stdout
    assert "no limit" in store.run("status").stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "All mail is not paused."),
        (("--transport", "eu"), "Transport eu is not paused."),
        (("--lane", "bulk"), "Lane bulk is not paused."),
    ],
)
def test_what_is_not_paused_can_not_be_resumed(store: Store, arguments: tuple[str, ...], text: str) -> None:
    store.run("pause", "--transport", "bulk")
    before = store.client.document(CONTROL).get().update_time
    result = store.run("resume", *arguments)
    assert (result.exit_code, text in result.stderr) == (1, True)
    assert store.client.document(CONTROL).get().update_time == before


def test_fields_of_a_later_version_stay(store: Store) -> None:
    store.client.document(CONTROL).set({"pausedTemplates": {"news": datetime.now(UTC)}})
    store.run("pause")
    store.run("resume")
    assert "pausedTemplates" in (store.client.document(CONTROL).get().to_dict() or {})


@pytest.mark.parametrize("command", ["pause", "resume", "status"])
def test_a_document_that_makes_no_sense_is_not_overwritten(store: Store, command: str) -> None:
    store.client.document(CONTROL).set({"pausedTime": "yes"})
    result = store.run(command)
    assert result.exit_code == 1
    assert CONTROL in result.stderr
    assert "pausedTime: expected a timestamp" in result.stderr
    assert store.client.document(CONTROL).get().to_dict() == {"pausedTime": "yes"}


def test_collections_are_paused_apart(store: Store) -> None:
    store.run("--collection", "tenants/a/mail", "pause")
    assert known(store) == Pause()
    assert store.client.document("tenants/a/mail-firepost/control").get().exists

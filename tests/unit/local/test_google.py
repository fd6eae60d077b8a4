"""Where Google's emulators are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.backends.google import FIRESTORE_LAUNCHER, PUBSUB_LAUNCHER, find_launchers


def program(file: Path, script: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        pytest.param("sdk/bin/gcloud", "exit 1", id="beside the program, which is not asked"),
        pytest.param("elsewhere/gcloud", "echo {root}/sdk", id="where the program says"),
    ],
)
def test_the_emulators_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, says: str) -> None:
    program(tmp_path / installed, says.format(root=tmp_path))
    programs = tmp_path / "programs"
    program(programs / "java", "exit 1")
    (programs / "gcloud").symlink_to(tmp_path / installed)
    launchers = tuple(tmp_path / "sdk" / "platform" / launcher for launcher in (FIRESTORE_LAUNCHER, PUBSUB_LAUNCHER))
    for launcher in launchers:
        program(launcher, "exit 1")
    monkeypatch.setenv("PATH", str(programs))
    assert find_launchers() == launchers

"""The images' build and start, without a container engine: the Dockerfile's steps in a local directory.

Excluded is what only an engine can do: the base image, the user, and a read-only root file system. Instead, a
comparison of all files before and after shows that nothing is written.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local.ports import free_port
from tests.dockerfile import Build, Dockerfile
from tests.integration.system import wait_for
from tests.patience import patience

#: Installing the locked packages takes 20 seconds or more. It is done once, in the one worker that gets all tests here.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.xdist_group("images")]

SETTINGS = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
    "SMTP_CONNECTION_URI": "smtp://127.0.0.1:1",
    "DEFAULT_FROM": "a@b.c",
    "TMPDIR": "/nonexistent",
    "WEB_WORKERS": "2",
}

#: Cloud Run's, from SIGTERM to SIGKILL.
GRACE_SECONDS = patience(10)


class Image:
    """One service's image: its app folder, and its environment."""

    def __init__(self, service: str, dockerfile: Dockerfile, places: dict[str, Path]) -> None:
        self.command = [
            word
            for kind in ("ENTRYPOINT", "CMD")
            if (instruction := dockerfile.setting(service, kind))
            for word in instruction.words
        ]
        self.app = places["/app"]
        self.environment = Build(places).run(*dockerfile.chain(service))

    def contents(self) -> dict[str, int]:
        """All files with their modification times."""
        return {str(path): path.lstat().st_mtime_ns for path in self.app.rglob("*")}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The installed packages, once for both images, which share that stage."""
    root = tmp_path_factory.mktemp("image")
    places = {"/venv": root / "venv", "/requirements": root / "requirements"}
    Build(places).run(Dockerfile.read().stages["packages"])
    return places


@pytest.fixture(params=["dispatcher", "sender"])
def image(request: pytest.FixtureRequest, places: dict[str, Path], tmp_path: Path) -> Iterator[Image]:
    """A service's image, whose files are read-only (except for root)."""
    image = Image(request.param, Dockerfile.read(), {**places, "/app": tmp_path / "app"})
    subprocess.run(["chmod", "-R", "a-w", image.app], check=True)
    yield image
    subprocess.run(["chmod", "-R", "u+w", image.app], check=True)


def test_an_image_serves_without_writing_a_file_and_ends_at_sigterm(image: Image) -> None:
    before, port = image.contents(), free_port()
    environment = {**image.environment, **SETTINGS, "PORT": str(port)}
    with subprocess.Popen(image.command, cwd=image.app, env=environment, start_new_session=True) as process:
        try:
            wait_for(lambda: process.poll() is not None or is_healthy(port), "it answers or has ended")
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(GRACE_SECONDS) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert image.contents() == before


def test_everything_is_compiled_for_a_fast_start(image: Image, places: dict[str, Path]) -> None:
    for folder in (image.app, places["/venv"] / "lib"):
        sources = [path for path in folder.rglob("*.py") if "tests" not in path.parts]
        compiled = {path.name.partition(".")[0] for path in folder.rglob("*.pyc")}
        assert sources
        assert {path.stem for path in sources} <= compiled


def is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok
    except requests.RequestException:
        return False

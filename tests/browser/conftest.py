"""A browser for all tests, and a running stack with something to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.options import StackOptions
from local.stack import Stack
from tests.browser.chromium import Chromium, find_chromium
from tests.browser.scene import write_scene


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with Chromium(program) as browser:
        yield browser


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    with Stack(StackOptions(release_uri="smtp://127.0.0.1:9")) as stack:
        write_scene(stack)
        yield stack

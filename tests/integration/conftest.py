"""One running system per backend for all integration tests; each test gets a mail server that refuses nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.backends import BACKENDS
from tests.integration.system import System, running


@pytest.fixture(scope="session", params=BACKENDS)
def shared_system(request: pytest.FixtureRequest) -> Iterator[System]:
    with running(request.param) as system:
        yield system


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    yield shared_system
    shared_system.server.forget_rules()

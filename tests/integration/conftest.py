"""Systems to test: each test gets one as if it had just been started.

A module configures its system with a fixture `configuration`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from local import processes
from tests.integration.backends import BACKENDS
from tests.integration.forked import fork
from tests.integration.system import Configuration, System, SystemKeeper


@pytest.hookimpl(tryfirst=True)  # before the plugin that looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share a system together: in one worker, one after another."""
    for item in items:
        if isinstance(item, pytest.Function) and _needs_system(item):
            backend = item.callspec.params.get("backend", "") if hasattr(item, "callspec") else ""
            item.add_marker(pytest.mark.xdist_group(f"{_sharers(item)} {backend}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Stop the system when the next test needs none: it takes CPU when idle, too, and tests would see what it logs."""
    yield
    if isinstance(item, pytest.Function) and nextitem is not None and not _needs_system(nextitem):
        keeper = item.funcargs.get("keeper")
        if isinstance(keeper, SystemKeeper):
            keeper.close()


def _needs_system(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and not {"keeper", "system"}.isdisjoint(item.fixturenames)


def _sharers(item: pytest.Function) -> str:
    """Who uses the same system as a test: its module, or all modules that leave it as it is configured here."""
    names = {"keeper", "backend", "configuration", "system"}
    is_default = names <= set(item.fixturenames) and not names & set(vars(item.module))
    return "default" if is_default else item.module.__name__


@pytest.fixture(scope="session", autouse=True)
def _emulators_start_quickly() -> Iterator[None]:
    """Google's emulators are Java, and live for a few tests: compiling and verifying less saves half of their CPU."""
    options = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", options)
        yield


@pytest.fixture(scope="session", autouse=True)
def _services_start_quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "spawn", fork)
        yield


@pytest.fixture(scope="session")
def keeper() -> Iterator[SystemKeeper]:
    keeper = SystemKeeper()
    yield keeper
    keeper.close()


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return Configuration()


@pytest.fixture
def system(keeper: SystemKeeper, backend: str, configuration: Configuration) -> Iterator[System]:
    with keeper.lend(backend, configuration) as system:
        yield system

"""Configuration for all tests: time limits, signals for processes that tests start, and the order."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Generator
from itertools import islice
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from tests.patience import patience

# How long an example takes says nothing on a loaded machine; tests of speed measure it themselves.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")
hypothesis.settings.register_profile("quick", max_examples=20)  # for `make unit`


#: The unit tests of what coverage is measured of.
_OF_SERVICES = [Path(__file__).parent / "unit" / name for name in ("dispatcher", "sender", "shared")]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scale the time limit of tests, and restore SIGINT, which `nohup` and a shell's `&` ignore.

    Child processes inherit an ignored SIGINT, and Python then raises no KeyboardInterrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.timeout is None:
        config.option.timeout = patience(float(config.getini("timeout")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how to repeat the tests in the same order; without -q, the plugin itself prints it."""
    seed = config.getoption("randomly_seed", default=None)
    if seed is not None and config.getoption("verbose") < 0:
        terminalreporter.write_line(f"This order again: --randomly-seed={seed}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that compute among those that mostly wait. In each kind, the order is random.

    Tests in a group follow each other. Groups come first and half of the quick tests last, so that no worker waits long
    for another at the end. (`--no-loadscope-reorder` makes pytest-xdist keep this order.)
    """
    waiting: dict[str, list[pytest.Item]] = {}
    computing = []
    for item in items:
        if item.get_closest_marker("integration"):
            group = item.get_closest_marker("xdist_group")
            waiting.setdefault(group.args[0] if group else item.nodeid, []).append(item)
        else:
            computing.append(item)
    between = len(computing) // 2 // max(1, len(waiting))
    rest = iter(sorted(computing, key=_is_quick))
    items.clear()
    for tests in sorted(waiting.values(), key=lambda tests: tests[0].get_closest_marker("xdist_group") is None):
        items += [*tests, *islice(rest, between)]
    items += rest


def _is_quick(item: pytest.Item) -> bool:
    return not any(map(item.get_closest_marker, ("integration", "slow"))) and "exploration" not in item.path.parts


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through thousands of tests again and again."""
    gc.freeze()


class _Scheduling(LoadGroupScheduling):  # type: ignore[misc]  # it has no types
    """Gives a worker all tests of a file at a time, except those that run a system: these as they are grouped.

    One by one, ten thousand tests cost the scheduler a fifth of the time.
    """

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0] if scope == nodeid and not nodeid.startswith("tests/integration") else scope


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling:
    """Called by pytest-xdist, if there are workers."""
    return _Scheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the coverage of the services' quick unit tests only: they must cover every decision.

    To measure the others takes minutes: it makes code several times slower, and tests of speed repeat what was slow.
    The plugin's own mark for that has no effect in the workers of pytest-xdist.
    """
    if _is_quick(item) and any(each in item.path.parents for each in _OF_SERVICES):
        return (yield)
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
        threading.settrace(of_threads)

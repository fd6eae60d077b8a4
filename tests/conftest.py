"""Configuration for all tests: time limits, signals for processes that tests start, and the seed of the order."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator

import hypothesis
import pytest

from tests.patience import patience

# How long an example takes says nothing on a loaded machine; tests of speed measure it themselves.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")
hypothesis.settings.register_profile("quick", max_examples=20)  # for `make unit`


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the coverage of quick unit tests only: they must cover every decision.

    To measure the others takes minutes: it makes code several times slower, and tests of speed repeat what was slow.
    The plugin's own mark for that has no effect in the workers of pytest-xdist.
    """
    if not any(map(item.get_closest_marker, ("integration", "slow"))) and "exploration" not in item.path.parts:
        return (yield)
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
        threading.settrace(of_threads)

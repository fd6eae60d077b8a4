"""What holds for every test: signals that reach the processes that tests start, and the seed of the tests' order."""

from __future__ import annotations

import signal

import pytest

from tests.patience import patience


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scale the time limit of a test, and undo what `nohup` or a shell's `&` does to the interrupt signal.

    A process that ignores SIGINT hands that on to all that it starts, and Python then raises no KeyboardInterrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.timeout is None:
        config.option.timeout = patience(float(config.getini("timeout")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to run the tests in the same order again; without -q, the plugin says so itself."""
    seed = config.getoption("randomly_seed", default=None)
    if seed is not None and config.getoption("verbose") < 0:
        terminalreporter.write_line(f"This order again: --randomly-seed={seed}")

"""Waiting for a stack that runs, without one."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from local.options import StackOptions
from local.stack import Stack


class Interrupted(Exception):
    """The signal's handler has run."""


def test_a_signal_ends_the_wait_whichever_thread_gets_it() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    def receive_signal() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    receiver = threading.Timer(0.05, receive_signal)
    try:
        with pytest.raises(Interrupted):
            receiver.start()
            Stack(StackOptions()).wait()
    finally:
        receiver.join()
        signal.signal(signal.SIGUSR1, before)

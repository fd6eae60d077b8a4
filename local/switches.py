"""What goes wrong on demand while the stack runs: at the mail server, and between the services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from local.backends.embedded import Faults, fault_flags
from local.inbox import LONGEST_DELAY, Inbox, InboxFault


class Switches:
    """The faults of the inbox, and those of the backend if it has some. `version` changes with each change."""

    def __init__(self, inbox: Inbox, faults: Faults | None, specs: Sequence[str], seed: int) -> None:
        """`specs` are those with which the stack was started; `faults` None means a backend without faults."""
        self.version = 0
        self.inbox = inbox
        self.specs = tuple(specs)
        self._faults = faults
        self._seed = seed

    @property
    def has_backend(self) -> bool:
        """Whether the backend has faults."""
        return self._faults is not None

    @property
    def counts(self) -> Counter[str]:
        """How often each of the backend's faults has occurred."""
        return Counter() if self._faults is None else self._faults.counts

    def set_inbox(self, fault: str, delay: float) -> None:
        """Raises `ValueError`, with a sentence, for an unknown fault or delay (in seconds)."""
        if fault not in set(InboxFault):
            raise ValueError(f"inbox: expected one of {', '.join(InboxFault)}.")
        if not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(f"delay: expected seconds, from 0 to {LONGEST_DELAY:g}.")
        self.inbox.set_fault(InboxFault(fault), delay)
        self.version += 1

    def set_backend(self, specs: Sequence[str]) -> None:
        """Replace the backend's faults, each as in `--fault`. Raises `ValueError`, with a sentence."""
        if self._faults is None:
            raise ValueError("faults: only the backend embedded has some.")
        fault_flags.apply(Faults(), specs, self._seed)  # all are right, or none is applied
        self._faults.clear()
        fault_flags.apply(self._faults, specs, self._seed)
        self.specs = tuple(specs)
        self.version += 1
